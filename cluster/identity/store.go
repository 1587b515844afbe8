package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"dfs/cluster/fault"
)

// Files of an identity's directory. The key comes first, before a join is even tried; the cluster's file comes last and
// makes the rest count.
const (
	keyFile     = "key.pem"
	caFile      = "authority.pem"
	certFile    = "cert.pem"
	secretFile  = "secret"
	clusterFile = "cluster.json"
	fileMax     = 64 << 10
)

const (
	pemKey  = "PRIVATE KEY"
	pemCert = "CERTIFICATE"
)

type clusterJSON struct {
	Schema int       `json:"schema"`
	ID     ClusterID `json:"id"`
	Name   string    `json:"name"`
}

// Key returns the peer's private key, making dir and the key where there are none.
func Key(dir string) (ed25519.PrivateKey, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Because("identity", fault.Other, err)
	}
	if err := checkPrivate(dir); err != nil {
		return nil, err
	}
	key, err := loadKey(dir)
	if !errors.Is(err, fault.NotExist) {
		return key, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fault.Because("identity", fault.Other, err)
	}
	return key, saveKey(dir, key)
}

// Save writes the identity into dir, so that a crash leaves the old or the new.
func (i *Identity) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Because("save identity", fault.Other, err)
	}
	if err := checkPrivate(dir); err != nil {
		return err
	}
	if err := saveKey(dir, i.key); err != nil {
		return err
	}
	c, err := json.Marshal(clusterJSON{Schema: 1, ID: i.Cluster, Name: i.Name})
	if err != nil {
		return fault.Because("save identity", fault.Other, err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{caFile, pemOf(pemCert, i.ca.Raw)},
		{certFile, pemOf(pemCert, i.cert.Load().Certificate[0])},
		{secretFile, []byte(text.EncodeToString(i.Secret[:]) + "\n")},
		{clusterFile, append(c, '\n')},
	} {
		if err := WriteFile(dir, f.name, f.data); err != nil {
			return err
		}
	}
	return nil
}

// Load reads what Save wrote. fault.NotExist: dir holds no membership (a key may be there); fault.Permission: others may
// read it; fault.Corrupt: it does not belong together. A nil now is time.Now.
func Load(dir string, now func() time.Time) (*Identity, error) {
	raw, err := readFile(dir, clusterFile)
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(dir); err != nil {
		return nil, err
	}
	var c clusterJSON
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, corrupt(dir, clusterFile, err)
	}
	if c.Schema != 1 {
		return nil, fault.New("load identity", fault.Unsupported, "%s was written by a newer version", clusterFile)
	}
	key, err := loadKey(dir)
	if err != nil {
		return nil, err
	}
	var secret Secret
	if raw, err = readFile(dir, secretFile); err != nil {
		return nil, err
	}
	b, err := text.DecodeString(string(bytes.TrimSpace(raw)))
	if err != nil || len(b) != len(secret) {
		return nil, corrupt(dir, secretFile, nil)
	}
	copy(secret[:], b)
	ca, err := loadPEM(dir, caFile, pemCert)
	if err != nil {
		return nil, err
	}
	leaf, err := loadPEM(dir, certFile, pemCert)
	if err != nil {
		return nil, err
	}
	i, err := New(c.ID, c.Name, secret, key, ca, leaf, now)
	return i, fault.Because("load identity from "+dir, fault.Corrupt, err)
}

func saveKey(dir string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fault.Because("save key", fault.Other, err)
	}
	return WriteFile(dir, keyFile, pemOf(pemKey, der))
}

func loadKey(dir string) (ed25519.PrivateKey, error) {
	der, err := loadPEM(dir, keyFile, pemKey)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, corrupt(dir, keyFile, err)
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, corrupt(dir, keyFile, nil)
	}
	return k, nil
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func loadPEM(dir, name, kind string) ([]byte, error) {
	raw, err := readFile(dir, name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != kind {
		return nil, corrupt(dir, name, nil)
	}
	return block.Bytes, nil
}

func corrupt(dir, name string, err error) error {
	return &fault.Error{Op: "load identity", Kind: fault.Corrupt, Detail: filepath.Join(dir, name), Err: err}
}

// readFile reads a small file that only its owner may read.
func readFile(dir, name string) ([]byte, error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New("load identity", fault.NotExist, "%s", path)
	}
	if err != nil {
		return nil, fault.Because("load identity", fault.Other, err)
	}
	if err := checkPrivate(path); err != nil {
		return nil, err
	}
	if info.Size() > fileMax {
		return nil, corrupt(dir, name, nil)
	}
	b, err := os.ReadFile(path)
	return b, fault.Because("load identity", fault.Other, err)
}

// WriteFile replaces a file that only its owner may read, synced, in one step.
func WriteFile(dir, name string, data []byte) (err error) {
	defer func() { err = fault.Because("save "+filepath.Join(dir, name), fault.Other, err) }()
	f, err := os.CreateTemp(dir, name+".tmp*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}
