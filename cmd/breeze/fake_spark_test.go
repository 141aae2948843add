package main

import (
	"context"
	"math"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/types"
)

func (f *fakeAgent) GetNeighbors(context.Context) ([]*types.SparkNeighbor, error) {
	return []*types.SparkNeighbor{
		{NodeName: "node10", State: "ESTABLISHED", Event: "HANDSHAKE_RCVD", TransportAddressV6: binary("fe80::10"), TransportAddressV4: binary("10.0.0.10"),
			OpenrCtrlThriftPort: 2018, Area: "0", LocalIfName: "eth10", RemoteIfName: "eth0", RttUs: 123, LastHelloMsgSentTimeDelta: 1500,
			LastHandshakeMsgSentTimeDelta: math.MaxInt64, LastHeartbeatMsgSentTimeDelta: 700},
		{NodeName: "node2", State: "WARM", Event: "HELLO_RCVD_NO_INFO", TransportAddressV6: binary("fe80::2"), TransportAddressV4: binary("0.0.0.0"),
			LocalIfName: "eth2", RemoteIfName: "eth0"},
	}, nil
}

func (f *fakeAgent) FloodRestartingMsg(context.Context) error {
	f.did("restarting")
	return nil
}

func (f *fakeAgent) GetInitializationEvents(context.Context) (map[kvstore.InitializationEvent]int64, error) {
	return map[kvstore.InitializationEvent]int64{
		kvstore.InitializationEvent_INITIALIZING: 0, kvstore.InitializationEvent_AGENT_CONFIGURED: 2, kvstore.InitializationEvent_LINK_DISCOVERED: 10,
		kvstore.InitializationEvent_NEIGHBOR_DISCOVERED: 10, kvstore.InitializationEvent_KVSTORE_SYNCED: 1200, kvstore.InitializationEvent_RIB_COMPUTED: 1300,
	}, nil
}

func (f *fakeAgent) AliveSince(context.Context) (int64, error) { return now.Unix() - 3661, nil }

func (f *fakeAgent) GetOpenrVersion(context.Context) (*types.OpenrVersions, error) {
	return &types.OpenrVersions{Version: 20200825, LowestSupportedVersion: 20200604}, nil
}

func (f *fakeAgent) GetBuildInfo(context.Context) (*types.BuildInfo, error) {
	return &types.BuildInfo{BuildPackageName: "openr", BuildPackageVersion: "v1.0", BuildPlatform: "linux/amd64", BuildTool: "go"}, nil
}
