package agent_test

import (
	"context"
	"testing"

	"openr/agent"
	"openr/config"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/rpc"
)

// TestClientsOriginateKeys: what a client persists over the control API is originated by this node.
func TestClientsOriginateKeys(t *testing.T) {
	cfg := testConfig(t)
	cfg.Areas[0].IncludeInterfaces, cfg.Areas[0].ExcludeInterfaces = config.MustMatch("lo"), config.MustMatch()
	var a *agent.Agent
	var conn *rpc.Conn
	var err error
	inNamespace(t, func() {
		if a, err = agent.New(t.Context(), agent.Options{Config: cfg}); err == nil {
			conn, err = rpc.Dial(t.Context(), "[::1]:2018", rpc.DialOptions{}) // the kernel accepts it before Run does
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	client := openrctrl.NewOpenrCtrlClient(conn.Client())
	params := kvstore.NewKeySetParams()
	params.KeyVals = kvstore.KeyVals{"mine": {Value: []byte("v")}}
	if err := client.PersistSelfOriginatedKey(t.Context(), params, "0"); err != nil {
		t.Fatal(err)
	}
	for {
		p, err := client.GetKvStoreKeyValsArea(t.Context(), []string{"mine"}, "0")
		if err != nil {
			t.Fatal(err)
		}
		if v := p.KeyVals["mine"]; v != nil {
			if v.OriginatorId != "alone" || v.Version != 1 || string(v.Value) != "v" {
				t.Errorf("got %v", v)
			}
			return
		}
	}
}
