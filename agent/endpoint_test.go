package agent

import (
	"testing"

	"openr/ctrl"
	"openr/endpoint/coop"
	"openr/endpoint/node"
)

// TestOracleStatus: what operators see of a leaf's session.
func TestOracleStatus(t *testing.T) {
	for _, c := range []struct {
		of   node.Oracle
		want ctrl.OracleSession
	}{
		{node.Oracle{}, ctrl.OracleDown},
		{node.Oracle{Linked: true}, ctrl.OracleConnecting},
		{node.Oracle{Linked: true, State: coop.LinkState{Accepted: true, Resync: true}}, ctrl.OracleSyncing},
		{node.Oracle{Linked: true, State: coop.LinkState{Accepted: true, Pending: 3}}, ctrl.OracleUp},
		{node.Oracle{Self: true, Records: 5}, ctrl.OracleUp},
	} {
		s := oracleStatus(&c.of)
		if s.Session != c.want || s.Heard.IsZero() == (c.want == ctrl.OracleUp) || s.Unacknowledged != c.of.State.Pending || s.Records != c.of.Records {
			t.Errorf("%+v is shown as %+v", c.of, s)
		}
	}
}
