package admin

import (
	"encoding/json"
	"unicode/utf8"

	"dfs/cluster/fault"
)

// Path is a path of the drive as it travels in a question. Names are bytes and JSON is UTF-8: what is none travels
// as {"bytes": base64}.
type Path string

type pathBytes struct {
	Bytes []byte `json:"bytes"`
}

// MarshalJSON implements json.Marshaler.
func (p Path) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(p)) {
		return json.Marshal(string(p))
	}
	return json.Marshal(pathBytes{[]byte(p)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Path) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*p = Path(s)
		return nil
	}
	var raw pathBytes
	if err := json.Unmarshal(b, &raw); err != nil {
		return fault.Because("path", fault.Invalid, err)
	}
	*p = Path(raw.Bytes)
	return nil
}

// oddBytes returns path where a string of JSON cannot carry it, else nil.
func oddBytes(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}
