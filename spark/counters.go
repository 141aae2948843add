package spark

// Counters as Open/R names them. Those that end in a message's name and an action are series (sum), the last block are
// gauges.
const (
	cntPacketRecv      = "spark.packet_recv"      // packets on a known interface with hop limit 255
	cntPacketRecvSize  = "spark.packet_recv_size" // their bytes
	cntPacketDropped   = "spark.packet_dropped"   // refused by the rate limit of their source
	cntPacketProcessed = "spark.packet_processed" // passed on to be decoded

	cntHelloBytes      = "spark.hello.bytes_sent"
	cntHelloSent       = "spark.hello.packet_sent"
	cntHelloVersion    = "spark.hello.invalid_version"   // sender's version is below the lowest supported one
	cntHelloAreaZero   = "spark.hello.default_area_rcvd" // areas differ, but one of them is the wildcard "0"
	cntHeartbeatBytes  = "spark.heartbeat.bytes_sent"
	cntHeartbeatSent   = "spark.heartbeat.packet_sent"
	cntHandshakeBytes  = "spark.handshake.bytes_sent"
	cntHandshakeSent   = "spark.handshake.packet_sent"
	cntHandshakeV4Addr = "spark.handshake.invalid_v4_addr"  // neighbour's IPv4 address is not one
	cntHandshakeSubnet = "spark.handshake.different_subnet" // neighbour's IPv4 address is not in my subnet

	cntLooped       = "spark.invalid_keepalive.looped_packet"       // my own name in a received packet
	cntEmptyName    = "spark.invalid_keepalive.empty_neighbor_name" // no name in a received packet
	cntNoArea       = "spark.neighbor_no_area"                      // no area wants this neighbour (count)
	cntMultipleArea = "spark.neighbor_multiple_area"                // several do; the lowest id is used (count)

	cntDiscoveryTime = "slo.neighbor_discovery.time_ms" // from first packet to adjacency (avg)
	cntRestartTime   = "slo.neighbor_restart.time_ms"   // from restart announced to adjacency again (avg)
)

// Series of this implementation: one for each cause of a packet or a message coming to nothing.
const (
	cntHopLimit         = "spark.invalid_keepalive.hop_limit"   // hop limit below 255: sent from off the link
	cntUnknownInterface = "spark.packet_unknown_interface"      // came in where no neighbours are wanted
	cntUndecodable      = "spark.packet_undecodable"            // not a SparkHelloPacket, or one without any message
	cntOversized        = "spark.packet_oversized"              // received, larger than 1280 bytes
	cntStrangers        = "spark.rate_limit_strangers"          // refused because sources without adjacency send too much together
	cntFoul             = "spark.foul_packets."                 // all that blame counts, by interface
	cntHelloOld         = "spark.hello.old_sequence"            // hello of an established neighbour whose sequence number is not above the last
	cntRecvError        = "spark.packet_recv_error"             // socket failed to read
	cntSendError        = "spark.packet_send_error"             // socket failed to send
	cntTooBig           = "spark.packet_too_big"                // not sent: larger than 1280 bytes
	cntJoinError        = "spark.group_join_error"              // multicast group not joined; tried again later
	cntHelloNoIfName    = "spark.hello.missing_if_name"         // hello without interface name
	cntHelloTruncated   = "spark.hello.truncated"               // hello sent that does not list every tracked neighbour
	cntHelloHeldBack    = "spark.hello.held_back"               // immediate hello put off because there were too many
	cntHandshakeV6Addr  = "spark.handshake.invalid_v6_addr"     // neighbour's IPv6 address is not a unicast one
	cntHandshakeTimes   = "spark.handshake.invalid_time"        // hold or restart time is not positive
	cntHandshakePort    = "spark.handshake.invalid_port"        // control port is not a TCP port
	cntHandshakeArea    = "spark.handshake.area_mismatch"       // the two sides deduce different areas
	cntUnknownNeighbor  = "spark.packet_unknown_neighbor"       // heartbeat or handshake before any hello
	cntTableFull        = "spark.neighbor_table_full"           // neighbour refused: too many on its interface
	cntEvicted          = "spark.neighbor_evicted"              // neighbour without adjacency forgotten to make room
	cntNoRoom           = "spark.neighbor_no_room"              // adjacency refused: my hello could not list it as well
	cntFsmInvalid       = "spark.fsm.invalid_transition"        // event that the state table does not have
	cntSourcesFull      = "spark.rate_limit_sources_exhausted"  // packet of a source for which the rate table had no room
	cntEventsDown       = "spark.neighbor_down"                 // NEIGHBOR_DOWN events
	cntEventsUp         = "spark.neighbor_up"                   // NEIGHBOR_UP events
	cntHoldExpired      = "spark.neighbor_hold_expired"         // neighbours lost by silence
	cntRestartExpired   = "spark.neighbor_restart_hold_expired" // neighbours that did not come back from a restart in time
	cntPastLoop         = "spark.announced_past_loop"           // interfaces on which a restart was announced although the loop did not answer
)

// Gauges.
const (
	gaugeRTTPrefix  = "spark.rtt_latest_us." // followed by the neighbour's name
	gaugeInterfaces = "spark.num_tracked_interfaces"
	gaugeNeighbors  = "spark.num_tracked_neighbors"  // in any state
	gaugeAdjacent   = "spark.num_adjacent_neighbors" // established or in graceful restart
	gaugeDiff       = "spark.tracked_adjacent_neighbors_diff"
	gaugeSeqNum     = "spark.my_seq_num"
	gaugeTimers     = "spark.pending_timers"
)
