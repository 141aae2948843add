package coop

// Reason is why something was refused.
type Reason uint8

// The reasons. Each is counted under coop.refused.<reason>.
const (
	ReasonNone      Reason = iota
	ReasonMalformed        // the bytes are no message
	ReasonOversized        // more records, or longer, than the bounds allow
	ReasonVersion          // another version of the protocol
	ReasonType             // a message that is not known
	ReasonArea             // of another area
	ReasonRole             // a message that this peer may not send
	ReasonName             // the node is not who the connection belongs to
	ReasonMember           // the node is not a member
	ReasonSession          // no HELLO came before
	ReasonEpoch            // of an earlier run of the publisher, or of a run that is not this session's
	ReasonRecord           // a record that is fit for no directory
	ReasonTEP              // a tunnel address that is not the publisher's own
	ReasonPublisher        // a record in another's name
	ReasonClock            // a time stamp that is more than a day ahead
	ReasonCause            // a cause that does not go with the record
	ReasonCapacity         // the directory is full, or the leaf has more records than one may have
)

var reasonNames = [...]string{"none", "malformed", "oversized", "version", "type", "area", "role", "name", "member", "session", "epoch",
	"record", "tunnel_address", "publisher", "clock", "cause", "capacity"}

// String returns the name as it stands in counters.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

func (r *reader) reason() Reason { return Reason(r.enum("reason", 0, uint8(ReasonCapacity))) }
