package config

import (
	"os"
	"reflect"
	"regexp"

	"openr/thrift/gen/openrconfig"
)

// defaultExclude are the interfaces that a node without configured areas leaves alone: the loopback, and the bridges and
// host ends of links that container engines and hypervisors make.
var defaultExclude = []string{
	"lo", "docker.*", "veth.*", "cali.*", "cni.*", "flannel.*", "cilium.*", "lxc.*", "lxdbr.*", "podman.*", "kube-.*",
	"br-.*", "virbr.*", "vnet.*", "tap.*",
}

// Default is the configuration of an agent without a file: the node is named after the host, and speaks on every
// interface that looks like a link to another router.
func Default(hostname string) *Config {
	f := newFile()
	f.NodeName = nodeNameFrom(hostname)
	f.Areas = []*openrconfig.AreaConfig{defaultArea()}
	f.complete()
	d := &decoder{report: newReport("", nil), at: map[string]*node{}}
	c := d.config(f)
	c.rest = c.Thrift()
	return c
}

// newFile returns Open/R's defaults with those in which this agent differs. Whether the kernel is programmed depends on
// what else is given: see complete.
func newFile() *file {
	f := &file{OpenrConfig: fresh(reflect.TypeFor[openrconfig.OpenrConfig]()).Interface().(*openrconfig.OpenrConfig)}
	f.NetlinkFib = fresh(reflect.TypeFor[netlinkFib]()).Interface().(*netlinkFib)
	f.ZebraFib = fresh(reflect.TypeFor[zebraFib]()).Interface().(*zebraFib)
	f.KvStore = fresh(reflect.TypeFor[kvStoreLimit]()).Interface().(*kvStoreLimit)
	f.Endpoint = fresh(reflect.TypeFor[endpointSection]()).Interface().(*endpointSection)
	f.NetlinkLinks = fresh(reflect.TypeFor[netlinkLinks]()).Interface().(*netlinkLinks)
	f.V4OverV6Nexthop = new(true)
	f.IPTos = new(int32(192)) // DSCP 48, CS6: network control (RFC 4594)
	f.AssumeDrained = false
	f.EnableBestRouteSelection = true
	f.KvstoreConfig.SelfAdjacencyTimeoutMs = new(int32(300000))
	return f
}

// complete fills in the defaults that depend on other values.
func (f *file) complete() {
	if f.EnableNetlinkFibHandler == nil {
		f.EnableNetlinkFibHandler = new(f.FibPort == 0 && !f.ZebraFib.Enable)
	}
	if f.ThriftServer.VerifyClientType == nil {
		f.ThriftServer.VerifyClientType = new(openrconfig.VerifyClientType_DO_NOT_REQUEST)
	}
	if f.WatchdogConfig == nil {
		f.WatchdogConfig = openrconfig.NewWatchdogConfig()
	}
	for _, a := range f.Areas {
		if len(a.NeighborRegexes) == 0 {
			a.NeighborRegexes = []string{".*"}
		}
	}
}

func defaultArea() *openrconfig.AreaConfig {
	return &openrconfig.AreaConfig{
		AreaID:                       "0",
		NeighborRegexes:              []string{".*"},
		IncludeInterfaceRegexes:      []string{".*"},
		ExcludeInterfaceRegexes:      defaultExclude,
		RedistributeInterfaceRegexes: []string{"lo"},
	}
}

// notInNodeName matches what cannot stand in a node name: a colon would end the name within a KvStore key, the rest is
// asking for trouble in file names and regular expressions.
var notInNodeName = regexp.MustCompile(`[^a-zA-Z0-9._-]`)

// nodeNameFrom makes a node name of a host name.
func nodeNameFrom(hostname string) string {
	if hostname == "" {
		return "openr"
	}
	return notInNodeName.ReplaceAllString(hostname, "-")
}

// hostNode is the node name of this host.
func hostNode() string {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	return nodeNameFrom(name)
}
