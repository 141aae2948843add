package kvstore

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"openr/msg"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/rpc"
)

// DialThrift returns the way to reach peers over the network: Thrift on TCP, its packets marked with the traffic class
// tos (Open/R common/OpenrClient.h).
func DialThrift(tos int) DialFunc {
	return func(ctx context.Context, p msg.Peer) (Client, error) {
		addr := net.JoinHostPort(p.Addr, strconv.Itoa(p.Port))
		conn, err := rpc.Dial(ctx, addr, rpc.DialOptions{TOS: tos, ConnectTimeout: connectTimeout, RequestTimeout: requestTimeout})
		if err != nil {
			return nil, fmt.Errorf("failed to connect to kvstore of %s at %s: %w", p.Node, addr, err)
		}
		return &thriftClient{conn: conn, service: wire.NewKvStoreServiceClient(conn.Client())}, nil
	}
}

// thriftClient is a Client over a Thrift connection.
type thriftClient struct {
	conn    *rpc.Conn
	service *wire.KvStoreServiceClient
}

func (c *thriftClient) FullSync(ctx context.Context, area string, digest DumpParams) (SyncAnswer, error) {
	t, err := c.service.GetKvStoreKeyValsFilteredArea(ctx, DumpParamsToThrift(digest), area)
	if err != nil {
		return SyncAnswer{}, fmt.Errorf("getKvStoreKeyValsFilteredArea: %w", err)
	}
	return PublicationFromThrift(t), nil
}

func (c *thriftClient) Flood(ctx context.Context, area string, set KeySet) error {
	if err := c.service.SetKvStoreKeyVals(ctx, KeySetToThrift(set), area); err != nil {
		return fmt.Errorf("setKvStoreKeyVals: %w", err)
	}
	return nil
}

func (c *thriftClient) Close() error { return c.conn.Close() }
