package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// Options says which lab to build.
type Options struct {
	Name     string // letters, digits, - and _; part of the names of the namespaces
	Topology string // see TopologyHelp

	// Binary is the agent, started in every node as `Binary --config FILE`. Empty: the network only, without agents.
	Binary string

	// Config returns what to change in DefaultConfig(node), by key; objects are merged, nil removes a key. May be nil.
	Config func(node int) map[string]any

	// Addresses returns addresses to put on the loopback interface of a node in addition to Loopbacks(node). May be nil.
	Addresses func(node int) []netip.Prefix

	// NumberedLinks puts IPv4 addresses on the links too, for agents with v4_over_v6_nexthop false.
	NumberedLinks bool

	// Fabric makes a fabric with hosts. Topology must be empty then.
	Fabric *Fabric
}

// Lab is a network of namespaces that exists. Its methods are for one goroutine.
type Lab struct {
	Name     string
	Topology Topology
	Fabric   *Fabric // nil: the lab is none

	nodes         []*node
	hosts         []Host
	binary        string
	numberedLinks bool
	created       time.Time
	creator       process
}

// Up builds a lab and starts its agents; it does not wait for them (see WaitConverged). If it fails nothing is left behind.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	if !validName.MatchString(o.Name) {
		return nil, fmt.Errorf("%q cannot name a lab: up to 40 letters, digits, - and _", o.Name)
	}
	if o.Fabric != nil {
		if o.Topology != "" {
			return nil, fmt.Errorf("topology %q and a fabric: a lab is one or the other", o.Topology)
		}
		if err := o.Fabric.validate(); err != nil {
			return nil, err
		}
		o.Topology = o.Fabric.topology()
	}
	topology, err := ParseTopology(o.Topology)
	if err != nil {
		return nil, err
	}
	if o.Binary != "" {
		if o.Binary, err = exec.LookPath(o.Binary); err != nil {
			return nil, fmt.Errorf("the agent's binary is missing: %w", err)
		}
		if o.Binary, err = filepath.Abs(o.Binary); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(Root, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(folder(o.Name), 0o755); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("lab %q exists already; remove it with: openr lab down %s", o.Name, o.Name)
	} else if err != nil {
		return nil, err
	}
	l := &Lab{
		Name: o.Name, Topology: topology, Fabric: o.Fabric, binary: o.Binary, numberedLinks: o.NumberedLinks,
		created: time.Now().Round(time.Second), creator: findProcess(os.Getpid()),
	}
	if err := l.build(ctx, o); err != nil {
		l.Close()
		return nil, errors.Join(err, l.undo())
	}
	return l, nil
}

// undo removes what build has made so far; a namespace that was there before is not among it.
func (l *Lab) undo() error {
	var namespaces []string
	for _, n := range l.nodes {
		namespaces = append(namespaces, n.Namespace)
	}
	for _, h := range l.hosts {
		namespaces = append(namespaces, h.Namespace)
	}
	err := endProcesses(namespaces)
	for _, ns := range namespaces {
		err = errors.Join(err, deleteNamespace(ns))
	}
	return errors.Join(err, os.RemoveAll(folder(l.Name)))
}

func (l *Lab) build(ctx context.Context, o Options) error {
	for i := range l.Topology.Nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.createNode(i, o); err != nil {
			return err
		}
	}
	for k := range l.Topology.Links {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.createLink(k); err != nil {
			return err
		}
	}
	if l.Fabric != nil {
		if err := l.buildFabric(); err != nil {
			return err
		}
	}
	if err := l.waitLinks(-1, true); err != nil {
		return err
	}
	if err := l.save(); err != nil || l.binary == "" {
		return err
	}
	for i := range l.nodes {
		if err := l.Start(i); err != nil {
			return err
		}
	}
	return nil
}

// createNode makes a node without links: namespace, loopback addresses, configuration.
func (l *Lab) createNode(i int, o Options) error {
	n := &node{Name: NodeName(i), Namespace: namespaceOf(l.Name, i)}
	if err := createNamespace(n.Namespace); err != nil {
		return err
	}
	l.nodes = append(l.nodes, n)
	var err error
	if n.netlink, err = openNetlink(n.Namespace); err != nil {
		return err
	}
	v6, v4 := Loopbacks(i)
	addresses := []netip.Prefix{v6, v4}
	if o.Addresses != nil {
		addresses = append(addresses, o.Addresses(i)...)
	}
	for _, a := range addresses {
		if err := addAddress(n.netlink, "lo", a); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	config := overlay(DefaultConfig(i), map[string]any{"persistent_config_store_path": filepath.Join(folder(l.Name), n.Name+".store")})
	if l.Fabric != nil {
		config = overlay(config, l.Fabric.config(i))
	}
	if o.Config != nil {
		config = overlay(config, o.Config(i))
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", n.Name, err)
	}
	if n.configured, err = readConfig(text); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return os.WriteFile(l.ConfigPath(i), append(text, '\n'), 0o644)
}

// Open returns a lab that another program (or this one) has built.
func Open(name string) (*Lab, error) {
	s, err := find(name)
	if err != nil {
		return nil, err
	}
	topology, err := ParseTopology(s.Topology)
	if err != nil {
		return nil, err
	}
	l := &Lab{
		Name: name, Topology: topology, Fabric: s.Fabric, hosts: s.Hosts, binary: s.Binary, numberedLinks: s.Numbered,
		created: s.Created, creator: s.Creator,
	}
	for i, ns := range s.Nodes {
		n := &node{Name: ns.Name, Namespace: ns.Namespace, agent: ns.Agent}
		l.nodes = append(l.nodes, n)
		text, err := os.ReadFile(l.ConfigPath(i))
		if err == nil {
			n.configured, err = readConfig(text)
		}
		if err == nil {
			n.netlink, err = openNetlink(n.Namespace)
		}
		if err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// Close lets go of the lab's sockets; the lab itself stays.
func (l *Lab) Close() {
	for _, n := range l.nodes {
		if n.netlink != nil {
			n.netlink.Close()
		}
	}
}

// Down closes and removes the lab.
func (l *Lab) Down() error {
	l.Close()
	return Down(l.Name)
}

// Namespace returns the name of node i's namespace, as `ip netns` lists it.
func (l *Lab) Namespace(i int) string { return l.nodes[i].Namespace }

// ConfigPath returns the file that holds node i's configuration.
func (l *Lab) ConfigPath(i int) string { return filepath.Join(folder(l.Name), NodeName(i)+".json") }

// LogPath returns the file that the agent of node i writes to.
func (l *Lab) LogPath(i int) string { return filepath.Join(folder(l.Name), NodeName(i)+".log") }

// LogTail returns the last lines of node i's log.
func (l *Lab) LogTail(i, lines int) string {
	text, err := os.ReadFile(l.LogPath(i))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Do runs f on a thread in the namespace of node i: sockets that f opens belong to the node.
func (l *Lab) Do(i int, f func() error) error { return inNamespace(l.Namespace(i), f) }

// Netlink returns a netlink handle in the namespace of node i. It belongs to the lab.
func (l *Lab) Netlink(i int) *netlink.Handle { return l.nodes[i].netlink }

// AddAddress puts an address on an interface of node i.
func (l *Lab) AddAddress(i int, ifName string, address netip.Prefix) error {
	return addAddress(l.nodes[i].netlink, ifName, address)
}

// Routes returns the agent's routes in the kernel of node i (see KernelRoutes).
func (l *Lab) Routes(i int) (Routes, error) {
	return l.RoutesOf(i, Protocol)
}

// RoutesOf returns the routes of a protocol in the kernel of node i, as KernelRoutes does for the agent's own.
func (l *Lab) RoutesOf(i int, protocol uint8) (Routes, error) {
	return kernelRoutes(l.nodes[i].netlink, l.nodes[i].Namespace, protocol)
}
