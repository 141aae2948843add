package endpoint

import (
	"fmt"
	"net/netip"
	"time"
)

// EventKind says what an Event is, and so which of its fields count.
type EventKind uint8

const (
	// Tick: time has passed; to be sent at the latest when NextDeadline says. No fields.
	Tick EventKind = iota

	// Learned: a frame of MAC came in on the access Port (with VLAN): a bridge entry is new or has moved, or a tap saw ARP
	// or neighbour discovery. IP is the sender's address, if the frame told one, and makes the event an answer to a probe of
	// that address too. FromData: the address was taken from a packet other than ARP or ND.
	Learned
	// LearnedRemote: the data plane learned that MAC (and IP, if valid) is behind TEP.
	LearnedRemote
	// Heard: MAC is heard again where it is known to be (activity notification, value 1).
	Heard
	// Idle: MAC has not been heard for the time For (activity notification, value 3; or the kernel aged its entry out).
	Idle
	// Gone: the kernel no longer has the entry of MAC, though nobody here asked for that and its age is not the reason.
	Gone
	// Used: something was sent to Key, which is behind another leaf, For ago: the answer to AskUsed.
	Used
	// Asked: the host MAC with the address IP asks on Port (with VLAN) who has Target (ARP request, neighbour solicitation).
	Asked
	// Wiped: the data plane has lost what was programmed of endpoints behind other leaves in domain Key.BD, or of their addresses.
	Wiped
	// Pinned: an earlier run has pinned Key to Port (with VLAN) or, if that is empty, to TEP, with the IPs of Record, if there is
	// one; in the data plane it is pinned still. For is since when; 0 if nobody knows.
	Pinned
	// PortDown: the access Port lost its carrier, was set down or has gone. To be sent once per change.
	PortDown
	// PortUp: the access Port works again.
	PortUp

	// FromDirectory: Record is what the directory has for its key: pushed, pulled or told in an ACK. A Tombstone says that it
	// has nothing.
	FromDirectory
	// Moved: an oracle says that the endpoint, which was here, is now what Record says.
	Moved
	// Acked: the directory has taken this leaf's publication of Key, under Seq. TEP is the leaf that had the endpoint until
	// then, invalid if none had.
	Acked
	// Glean: the directory is looking for IP in domain Key.BD: everyone is to ask on its access ports.
	Glean

	// ClearRogue: the operator ends the holds of rogue endpoints: of Key; of IP in domain Key.BD; with neither MAC nor IP of the
	// whole domain Key.BD, or of all domains if that is 0 too.
	ClearRogue
	// ClearEndpoint: the operator removes Key from the table, whatever its state; it may be learned again.
	ClearEndpoint
	// EnablePort: the operator brings a Port back that loop protection shut down.
	EnablePort
	// EnableLearning: the operator ends the time without learning of domain Key.BD.
	EnableLearning
)

var eventNames = [...]string{"tick", "learned", "learned remote", "heard", "idle", "gone", "used", "asked",
	"wiped", "pinned", "port down", "port up", "from directory",
	"moved", "acked", "glean", "clear rogue", "clear endpoint", "enable port", "enable learning"}

// String returns the name in lower case.
func (k EventKind) String() string { return nameOf(eventNames[:], uint8(k)) }

// Event is something that happened to a leaf. Which fields count depends on Kind.
type Event struct {
	Kind EventKind
	Key
	IP       netip.Addr // IPv4 as 4 bytes
	Target   netip.Addr // likewise
	Port     string     // access port, by the name that stays the same across restarts
	VLAN     uint16     // 0: untagged
	FromData bool
	TEP      netip.Addr
	For      time.Duration
	Seq      uint32
	Record   *Record // not changed and not kept by the core
}

// String returns the event on one line, for logs.
func (e Event) String() string {
	if e.Record != nil {
		return fmt.Sprintf("%v: %v", e.Kind, e.Record)
	}
	return fmt.Sprintf("%v: %v ip %v port %q vlan %d leaf %v for %v seq %d", e.Kind, e.Key, e.IP, e.Port, e.VLAN, e.TEP, e.For, e.Seq)
}

// ActionKind says what an Action asks for, and so which of its fields count.
type ActionKind uint8

const (
	// Publish: tell all oracles Record, for Cause.
	Publish ActionKind = iota + 1
	// Withdraw: tell all oracles Record, a Tombstone, for Cause.
	Withdraw

	// ProgramLocal: keep an entry for Key on the access Port (with VLAN), one that reports activity and may roam.
	ProgramLocal
	// ProgramRemote: send what is for Key to TEP. IPs are all its addresses, in VRF, for suppressed ARP and ND; those of an
	// earlier ProgramRemote which are not among them are to go.
	ProgramRemote
	// Remove: take Key and its addresses out of every table. Not asked for where a Program or Freeze of the same key follows:
	// these replace what was there before.
	Remove
	// BounceOn: packets for Key that arrive from other leaves go on to TEP with their outer source as it is, until BounceOff
	// and for not longer than For. Replaces an earlier one.
	BounceOn
	// BounceOff ends BounceOn for Key.
	BounceOff
	// FreezeMAC: pin Key to Port (with VLAN) if that is not empty, else to TEP: no frame moves it. IPs are as in ProgramRemote.
	FreezeMAC
	// FreezeIP: pin IP in VRF to Key, whoever else claims it.
	FreezeIP
	// UnfreezeMAC ends FreezeMAC. A Program or Remove of the same key follows.
	UnfreezeMAC
	// UnfreezeIP ends FreezeIP.
	UnfreezeIP

	// Probe: ask for IP (ARP request or neighbour solicitation) on Port with VLAN, sent to MAC; with an empty Port and MAC on
	// all access ports of Key.BD by broadcast.
	Probe
	// AskUsed: say (Used) how long ago something was last sent to Key, which is behind another leaf. Many are asked about at once.
	AskUsed
	// Lookup: ask the directory who has IP in VRF, and to look for it in domain Key.BD if nobody has. What it finds comes as
	// FromDirectory.
	Lookup
	// Reply: answer the host Asker on Port (with VLAN), which has asked who has IP: Key has (ARP reply, neighbour advertisement).
	Reply
	// LearningOff: nothing new is learned on access ports of Key.BD; entries that stand must keep working.
	LearningOff
	// LearningOn ends LearningOff.
	LearningOn
	// PortDisable: shut the access Port.
	PortDisable
	// PortEnable ends PortDisable.
	PortEnable

	// FaultRaised: Fault stands from now on.
	FaultRaised
	// FaultCleared: Fault no longer stands.
	FaultCleared
	// Notify: Change happened, for those who watch.
	Notify
)

var actionNames = [...]string{"", "publish", "withdraw", "program local", "program remote", "remove", "bounce on", "bounce off",
	"freeze mac", "freeze ip", "unfreeze mac", "unfreeze ip", "probe", "ask used", "lookup", "reply", "learning off", "learning on", "port disable", "port enable",
	"fault raised", "fault cleared", "notify"}

// String returns the name in lower case.
func (k ActionKind) String() string { return nameOf(actionNames[:], uint8(k)) }

// Action is something that a leaf is to do. Which fields count depends on Kind. Actions are carried out in their order;
// repeating one does no harm.
type Action struct {
	Kind ActionKind
	Key
	VRF    VRF
	IP     netip.Addr
	IPs    []netip.Addr // ascending
	Port   string
	VLAN   uint16
	TEP    netip.Addr
	Asker  Host
	For    time.Duration
	Cause  Cause
	Record *Record // the receiver's own
	Fault  *Fault
	Change *Change
}

// Host is a host on the wire: one of its addresses, and its MAC address.
type Host struct {
	MAC MAC
	IP  netip.Addr
}

// String returns the action on one line, for logs.
func (a Action) String() string {
	switch {
	case a.Record != nil:
		return fmt.Sprintf("%v (%v): %v", a.Kind, a.Cause, a.Record)
	case a.Fault != nil:
		return fmt.Sprintf("%v: %v", a.Kind, a.Fault)
	case a.Change != nil:
		return fmt.Sprintf("%v: %v of %v %v from %v to %v", a.Kind, a.Change.Kind, a.Key, a.IP, a.Change.From, a.Change.To)
	}
	return fmt.Sprintf("%v: %v ip %v %v port %q vlan %d leaf %v for %v", a.Kind, a.Key, a.IP, a.IPs, a.Port, a.VLAN, a.TEP, a.For)
}

// ChangeKind is what an operator sees happen to an endpoint.
type ChangeKind uint8

// What can happen to an endpoint.
const (
	Attach      ChangeKind = iota + 1 // it is now behind a port of this leaf
	Detach                            // it no longer is, and is nowhere else as far as known
	MoveChange                        // it has another place: here, elsewhere, or one of its addresses has another MAC
	BounceStart                       // it went from here to another leaf, and what arrives here follows it
	BounceEnd                         // nothing follows it any more
	RogueStart                        // it moves too often and was pinned
	RogueEnd                          // its hold is over
)

var changeNames = [...]string{"", "attach", "detach", "move", "bounce", "bounce end", "rogue", "rogue end"}

// String returns the name in lower case.
func (k ChangeKind) String() string { return nameOf(changeNames[:], uint8(k)) }

// Place is where an endpoint is: behind a port of this leaf, or behind another leaf.
type Place struct {
	Port string
	VLAN uint16
	TEP  netip.Addr // of the other leaf; invalid if it is here
}

// Change is one line of an endpoint's history.
type Change struct {
	Kind     ChangeKind
	At       time.Time
	Key      Key
	IP       netip.Addr // valid if it happened to this address only
	From, To Place
	Cause    Cause
}
