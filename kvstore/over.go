package kvstore

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"

	wire "openr/thrift/gen/kvstore"
)

// Over returns a Client that makes its calls through c, whatever that goes over. Up to l.Window of them are made at a time.
func Over(c thrift.TClient, l Link) Client { return &overClient{c, l} }

type overClient struct {
	client thrift.TClient
	link   Link
}

func (c *overClient) FullSync(ctx context.Context, area string, d Digest) (SyncAnswer, error) {
	var reply syncReply
	if _, err := c.client.Call(ctx, syncMethod, &syncCall{area: area, digest: d}, &reply); err != nil {
		return SyncAnswer{}, err
	}
	return reply.result()
}

func (c *overClient) Flood(ctx context.Context, f *Flood) error {
	var result wire.KvStoreServiceSetKvStoreKeyValsResult
	args := &wire.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: KeySetToThrift(f.KeySet), Area: f.Area}
	if _, err := c.client.Call(ctx, "setKvStoreKeyVals", args, &result); err != nil {
		return err
	}
	if result.Error != nil {
		return result.Error
	}
	return nil
}

func (c *overClient) Link() Link { return c.link }

func (c *overClient) Close() error { return nil }
