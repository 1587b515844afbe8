package admin

import (
	"encoding/json"
	"io"
	"net/http"

	"dfs/cluster/fault"
)

const refusalMax = 64 << 10

// Refuse answers a request with err, so that RefusalOf gives the asker its kind, words and next step.
func Refuse(w http.ResponseWriter, err error) { refuse(w, err) }

// RefusalOf returns the error that an answer carries which is not 200; op names what was asked where it does not.
func RefusalOf(op string, resp *http.Response) error {
	var f refusal
	if err := json.NewDecoder(io.LimitReader(resp.Body, refusalMax)).Decode(&f); err != nil {
		return fault.New(op, fault.Other, "the daemon answered %s", resp.Status)
	}
	if f.Op == "" {
		f.Op = op
	}
	err := error(&fault.Error{Op: f.Op, Kind: f.Kind, Detail: f.Detail})
	if f.Next != "" {
		err = fault.Advise(err, "%s", f.Next)
	}
	return err
}
