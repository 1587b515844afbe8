package segment

import (
	"encoding/binary"
	"hash/crc32"
)

// peek reads the lengths of a header whose sum may be wrong.
func peek(b []byte) (header, error) {
	c := append([]byte{}, b[:headerSize]...)
	sealHead(c)
	return decodeHeader(storeID, c)
}

// sealHead makes the header's sum right.
func sealHead(b []byte) {
	binary.LittleEndian.PutUint32(b, magic)
	binary.LittleEndian.PutUint32(b[124:], headSum(storeID, b))
}

// sealMeta makes the sum of the runs and sums right.
func sealMeta(b []byte, n int) {
	binary.LittleEndian.PutUint32(b[120:], crc32.Checksum(b[headerSize:headerSize+n], castagnoli))
}
