package identity

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"dfs/cluster/fault"
)

// Secret is what all members of a cluster know and nobody else: from it come the key that wraps the authority's and
// the gossip keys. Formatting shows nothing of it; conversion to [32]byte does.
type Secret [32]byte

// NewSecret returns a random secret.
func NewSecret() (s Secret) {
	rand.Read(s[:])
	return s
}

// redacted is how every secret prints.
const redacted = "redacted"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { f.Write([]byte(redacted)) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// derive returns a key for one purpose.
func (s Secret) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, s[:], nil, purpose, 32)
	if err != nil {
		panic(err) // only for lengths that 32 is not
	}
	return key
}

// GossipKey returns the 32-byte key that encrypts gossip packets in an epoch; the first is 0.
func GossipKey(s Secret, epoch uint64) []byte {
	return s.derive(fmt.Sprintf("dfs gossip key %d", epoch))
}

const (
	wrapVersion = 1
	wrapPurpose = "dfs authority key"
)

func wrapper(s Secret) cipher.AEAD {
	block, err := aes.NewCipher(s.derive(wrapPurpose))
	if err != nil {
		panic(err) // only for key lengths that 32 is not
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for foreign block sizes
	}
	return aead
}

// WrapKey encrypts the authority's private key under the cluster's secret: AES-256-GCM with a random nonce, bound to
// the cluster's id.
func WrapKey(s Secret, c ClusterID, key ed25519.PrivateKey) []byte {
	return wrapper(s).Seal([]byte{wrapVersion}, nil, key.Seed(), c[:])
}

// UnwrapKey is the inverse of WrapKey. fault.Refused when the secret or the cluster is another one.
func UnwrapKey(s Secret, c ClusterID, wrapped []byte) (ed25519.PrivateKey, error) {
	if len(wrapped) == 0 || wrapped[0] != wrapVersion {
		return nil, fault.New("unwrap key", fault.Unsupported, "%d bytes of an unknown version", len(wrapped))
	}
	seed, err := wrapper(s).Open(nil, nil, wrapped[1:], c[:])
	if err != nil {
		return nil, fault.New("unwrap key", fault.Refused, "it was wrapped with another cluster's secret")
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fault.New("unwrap key", fault.Invalid, "%d bytes", len(seed))
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
