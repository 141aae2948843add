package endpoint

import (
	"fmt"
	"net/netip"
	"time"
)

// FaultKind is what is wrong.
type FaultKind uint8

// What can be wrong.
const (
	FaultRogueMAC      FaultKind = iota + 1 // an endpoint moves too often; it is pinned
	FaultRogueIP                            // an address changes its endpoint too often; it is pinned
	FaultLoop                               // an endpoint moves between the same two places too often; nothing was shut
	FaultLoopPort                           // the same; the port was shut
	FaultLoopLearning                       // the same; its domain does not learn
	FaultMoveDampening                      // too many moves in a domain; it does not learn
	FaultTableFull                          // there is no room for more endpoints
)

var faultNames = [...]string{"", "rogue-mac", "rogue-ip", "loop", "loop-port", "loop-learning", "move-dampening", "table-full"}

// String returns the name in lower case.
func (k FaultKind) String() string { return nameOf(faultNames[:], uint8(k)) }

// FaultID tells faults apart; fields that a kind of fault does not concern are zero.
type FaultID struct {
	Kind FaultKind
	Key  Key
	IP   netip.Addr
	Port string
}

// Fault is something that an operator should know and put right.
type Fault struct {
	FaultID
	IPs   []netip.Addr // addresses of the endpoint when it was raised
	Place Place        // where the endpoint is pinned
	Since time.Time
	Until time.Time // when it ends by itself; zero: not before somebody acts
}

// String says what happened, what was done about it and what remains to be done.
func (f *Fault) String() string {
	until := "until an operator acts"
	if !f.Until.IsZero() {
		until = "until " + f.Until.UTC().Format(time.RFC3339)
	}
	switch f.Kind {
	case FaultRogueMAC:
		who := f.Key.String()
		if len(f.IPs) > 0 {
			who += fmt.Sprint(" ", f.IPs)
		}
		return fmt.Sprintf("rogue endpoint %s moves too often: pinned to %v %s; look for a loop or for teaming that sends one MAC over several links",
			who, f.Place, until)
	case FaultRogueIP:
		return fmt.Sprintf("rogue address %v in domain %d changes its MAC too often: pinned to %v %s; look for a duplicate address or active-active teaming, or turn IP learning off",
			f.IP, f.Key.BD, f.Key.MAC, until)
	case FaultLoop:
		return fmt.Sprintf("loop: endpoint %v moves to and fro too often; no action is configured", f.Key)
	case FaultLoopPort:
		return fmt.Sprintf("loop: endpoint %v moves to and fro too often: port %s is shut %s; remove the loop", f.Key, f.Port, until)
	case FaultLoopLearning:
		return fmt.Sprintf("loop: endpoint %v moves to and fro too often: domain %d does not learn %s; remove the loop", f.Key, f.Key.BD, until)
	case FaultMoveDampening:
		return fmt.Sprintf("too many moves: domain %d does not learn %s; remove the loop, or raise move_frequency to the most endpoints on one link", f.Key.BD, until)
	case FaultTableFull:
		return "the endpoint table is full: new endpoints are not learned; look for forged MAC addresses, or raise max_endpoints"
	}
	return f.Kind.String()
}

// String returns "port <name>", "port <name> vlan <n>" or "leaf <address>".
func (p Place) String() string {
	switch {
	case p.TEP.IsValid():
		return "leaf " + p.TEP.String()
	case p.VLAN != 0:
		return fmt.Sprintf("port %s vlan %d", p.Port, p.VLAN)
	}
	return "port " + p.Port
}
