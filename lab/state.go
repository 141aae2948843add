package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Root is the folder that holds one folder per lab. A lab's folder is made before its first namespace and removed after
// its last, so whatever a crash leaves behind can be found from here.
const Root = "/run/openr-lab"

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)

// state is what state.json holds: enough for another program to find, enter and remove the lab.
type state struct {
	Topology string      `json:"topology"`
	Created  time.Time   `json:"created"`
	Creator  process     `json:"creator"` // the program that built it
	Binary   string      `json:"binary"`  // empty: no agents
	Numbered bool        `json:"numbered_links"`
	Nodes    []nodeState `json:"nodes"`
	Fabric   *Fabric     `json:"fabric,omitempty"`
	Hosts    []Host      `json:"hosts,omitempty"`
}

type nodeState struct {
	Name      string  `json:"name"`
	Namespace string  `json:"namespace"`
	Agent     process `json:"agent"`
}

// node is a node of a lab that this program holds open.
type node struct {
	Name      string
	Namespace string
	netlink   *netlink.Handle
	lastIndex int // highest interface index given out, see Lab.newIndex
	configured

	mu     sync.Mutex
	agent  process
	status string // how the agent ended, if this program started it and it did
}

func (n *node) process() process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agent
}

func (n *node) set(p process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.agent, n.status = p, ""
}

func (n *node) exited(pid int, status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent.PID == pid {
		n.status = status
	}
}

func (n *node) open() (netns.NsHandle, error) {
	ns, err := netns.GetFromName(n.Namespace)
	if err != nil {
		return ns, fmt.Errorf("namespace %s: %w", n.Namespace, err)
	}
	return ns, nil
}

func folder(name string) string { return filepath.Join(Root, name) }

// namespaceOf returns the name of the namespace of node i of a lab.
func namespaceOf(lab string, i int) string { return lab + "-" + NodeName(i) }

// save writes state.json.
func (l *Lab) save() error {
	s := state{
		Topology: l.Topology.Spec, Created: l.created, Creator: l.creator, Binary: l.binary, Numbered: l.numberedLinks,
		Fabric: l.Fabric, Hosts: l.hosts,
	}
	for _, n := range l.nodes {
		s.Nodes = append(s.Nodes, nodeState{Name: n.Name, Namespace: n.Namespace, Agent: n.process()})
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(folder(l.Name), "state.json"), append(text, '\n'), 0o644)
}

// find is load for a lab that somebody has named: its error says what to do about a lab that is not there, or not whole.
func find(name string) (state, error) {
	if !validName.MatchString(name) {
		return state{}, unknown(name)
	}
	s, err := load(name)
	if !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	if _, err := os.Stat(folder(name)); err != nil {
		return s, unknown(name)
	}
	return s, fmt.Errorf("lab %q is incomplete; remove it with: openr lab down %s", name, name)
}

func load(name string) (state, error) {
	var s state
	text, err := os.ReadFile(filepath.Join(folder(name), "state.json"))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s/state.json: %w", folder(name), err)
	}
	return s, nil
}

// Info describes a lab that exists on this machine.
type Info struct {
	Name     string
	Topology string // empty: what a crash left of a lab; Down removes it
	Created  time.Time
	Creator  int  // process that built it
	Orphaned bool // that process has ended
	Agents   int  // how many run
	Nodes    []string
	Hosts    []string // of a fabric
}

// List returns all labs of this machine by name, also broken ones.
func List() ([]Info, error) {
	entries, err := os.ReadDir(Root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var labs []Info
	for _, e := range entries {
		if !e.IsDir() || !validName.MatchString(e.Name()) {
			continue
		}
		info := Info{Name: e.Name()}
		if s, err := load(e.Name()); err == nil {
			info.Topology, info.Created = s.Topology, s.Created
			info.Creator, info.Orphaned = s.Creator.PID, !s.Creator.alive()
			for _, n := range s.Nodes {
				info.Nodes = append(info.Nodes, n.Name)
				if n.Agent.alive() {
					info.Agents++
				}
			}
			for _, h := range s.Hosts {
				info.Hosts = append(info.Hosts, h.Name)
			}
		}
		labs = append(labs, info)
	}
	return labs, nil
}

// ErrNoLab is returned for a lab that does not exist.
var ErrNoLab = errors.New("no such lab")

// unknown is ErrNoLab with the names of those that do exist.
func unknown(name string) error {
	labs, _ := List()
	var names []string
	for _, l := range labs {
		names = append(names, l.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("%q: %w; there is none on this machine (openr lab up makes one)", name, ErrNoLab)
	}
	return fmt.Errorf("%q: %w; there are: %s", name, ErrNoLab, strings.Join(names, ", "))
}

// Down removes a lab: it ends everything that runs in its namespaces, removes those and the lab's folder. It also
// removes what a crash left of a lab. Of a lab that does not exist there is nothing to remove: no error.
func Down(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q is not a name of a lab", name)
	}
	if err := needRoot(); err != nil {
		return err
	}
	if _, err := os.Stat(folder(name)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// Told by their names, not by state.json: it may never have been written.
	pattern := regexp.MustCompile("^" + regexp.QuoteMeta(name) + `-[nh]\d+$`)
	var namespaces []string
	entries, err := os.ReadDir(netnsFolder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if pattern.MatchString(e.Name()) {
			namespaces = append(namespaces, e.Name())
		}
	}
	slices.Sort(namespaces)
	if err := endProcesses(namespaces); err != nil {
		return err
	}
	for _, ns := range namespaces {
		if err := deleteNamespace(ns); err != nil {
			return err
		}
	}
	return os.RemoveAll(folder(name))
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root: run this as root (sudo)")
	}
	return nil
}
