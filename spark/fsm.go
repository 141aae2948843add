package spark

// State is the state of a neighbour (Open/R Types.thrift, SparkNeighState).
type State int

// The states. A neighbour in Idle is not kept.
const (
	Idle        State = iota // not known
	Warm                     // heard
	Negotiate                // hears me too; handshake under way
	Established              // adjacency stands, kept by heartbeats
	Restart                  // announced a graceful restart; adjacency kept until it is back
)

// Event is what happens to a neighbour (Open/R Types.thrift, SparkNeighEvent).
type Event int

// The events.
const (
	HelloInfo         Event = iota // hello that lists me
	HelloNoInfo                    // hello that does not
	HelloRestart                   // hello that announces a graceful restart
	HeartbeatReceived              // in Established
	HandshakeReceived              // handshake that was agreed to
	HeartbeatTimeout               // no heartbeat for the hold time
	NegotiateTimeout               // no handshake in time
	RestartTimeout                 // not back from its restart in time
	NegotiationFailed              // its handshake does not fit mine
)

const (
	numStates = int(Restart) + 1
	numEvents = int(NegotiationFailed) + 1
)

var stateNames = [numStates]string{"IDLE", "WARM", "NEGOTIATE", "ESTABLISHED", "RESTART"}

var eventNames = [numEvents]string{"HELLO_RCVD_INFO", "HELLO_RCVD_NO_INFO", "HELLO_RCVD_RESTART", "HEARTBEAT_RCVD", "HANDSHAKE_RCVD",
	"HEARTBEAT_TIMER_EXPIRE", "NEGOTIATE_TIMER_EXPIRE", "GR_TIMER_EXPIRE", "NEGOTIATION_FAILURE"}

// String returns Open/R's name of the state.
func (s State) String() string {
	if s < 0 || int(s) >= numStates {
		return "UNKNOWN"
	}
	return stateNames[s]
}

// String returns Open/R's name of the event.
func (e Event) String() string {
	if e < 0 || int(e) >= numEvents {
		return "UNKNOWN"
	}
	return eventNames[e]
}

// transition is a cell of the state table.
type transition struct {
	from State
	on   Event
}

// table holds every pair of state and event that has a meaning (Open/R spark/Spark.cpp, stateMap_).
var table = map[transition]State{
	{Idle, HelloInfo}:   Warm,
	{Idle, HelloNoInfo}: Warm,

	{Warm, HelloInfo}:      Negotiate,
	{Warm, RestartTimeout}: Idle,

	{Negotiate, HandshakeReceived}: Established,
	{Negotiate, NegotiateTimeout}:  Warm,
	{Negotiate, NegotiationFailed}: Warm,
	{Negotiate, RestartTimeout}:    Idle,

	{Established, HelloNoInfo}:       Idle,
	{Established, HelloRestart}:      Restart,
	{Established, HeartbeatReceived}: Established,
	{Established, HeartbeatTimeout}:  Idle,

	{Restart, HelloInfo}:      Negotiate,
	{Restart, RestartTimeout}: Idle,
}

// next returns the state after event e in state s; ok is false, and the state stays, if the table does not have the pair.
func next(s State, e Event) (to State, ok bool) {
	if to, ok = table[transition{s, e}]; !ok {
		return s, false
	}
	return to, true
}
