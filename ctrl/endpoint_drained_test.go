package ctrl

import (
	"slices"
	"testing"

	"openr/endpoint"
	"openr/thrift/gen/openrendpoint"
)

// TestDrainedEndpoints: that the leaf of an endpoint is drained is its state at an oracle, unless something worse is, and a flag
// everywhere; both can be asked for.
func TestDrainedEndpoints(t *testing.T) {
	c, m := newTest()
	record := func(n byte, status endpoint.Status, drained bool) EndpointStatus {
		return EndpointStatus{View: endpoint.View{Key: endpoint.Key{BD: 1, MAC: mac(n)}}, Status: status, Drained: drained}
	}
	remote := host(1, 5, endpoint.Remote)
	remote.Drained = true
	m.endpoints.All = []EndpointStatus{
		record(1, endpoint.Active, true), record(2, endpoint.Active, false), record(3, endpoint.Stale, true), record(4, endpoint.Tombstone, true), remote,
	}
	page, err := c.GetEndpoints(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"drained", "active", "stale", "remote"}
	for i, e := range page.Endpoints {
		if e.State != want[i] || slices.Contains(e.Flags, "drained") != (i != 1) {
			t.Errorf("%s is %s %v, want %s", e.Mac, e.State, e.Flags, want[i])
		}
	}
	if page, err = c.GetEndpoints(t.Context(), &openrendpoint.EndpointFilter{State: new("drained")}); err != nil || names(page.Endpoints) != "1/1 1/3 1/5" {
		t.Errorf("those that are drained: %s, %v", names(page.Endpoints), err)
	}
}
