package rpc

// The server's counters. All but the gauge are series of kind count.
const (
	counterConnections = "rpc.server.connections"          // gauge: open connections
	counterAccepted    = "rpc.server.accepted"             // connections accepted
	counterRefused     = "rpc.server.refused"              // connections closed at once, because one of the limits was reached
	counterAcceptError = "rpc.server.accept_error"         // failures to accept, each retried
	counterRequests    = "rpc.server.requests"             // messages handed to the processor
	counterTooLarge    = "rpc.server.error.frame_size"     // frames that claim to be longer than the limit, or empty
	counterNotThrift   = "rpc.server.error.not_thrift"     // frames that begin like neither compact nor binary Thrift
	counterTimeout     = "rpc.server.error.timeout"        // frames begun but not finished in time, answers not taken in time
	counterTruncated   = "rpc.server.error.truncated"      // connections that ended in the middle of a frame
	counterMalformed   = "rpc.server.error.malformed"      // messages that do not decode
	counterPanic       = "rpc.server.error.panic"          // handlers that panicked
	counterReplySize   = "rpc.server.error.reply_too_long" // answers longer than the limit, replaced by an exception
)
