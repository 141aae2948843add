package rocket

// The server's counters, series of kind count unless it says otherwise.
const (
	counterRequests   = "rocket.server.requests"            // requests taken
	counterStreams    = "rocket.server.streams"             // streams opened
	counterElements   = "rocket.server.stream_elements"     // elements sent on streams
	counterReceived   = "rocket.server.received_bytes"      // kind sum: bytes of requests, as they came
	counterSent       = "rocket.server.sent_bytes"          // kind sum: bytes of responses and elements, as they went
	counterSetup      = "rocket.server.error.setup"         // connections without an acceptable SETUP
	counterFrame      = "rocket.server.error.frame"         // connections closed for a frame with a wrong type, flags or length
	counterTooLong    = "rocket.server.error.too_long"      // messages beyond the limit
	counterProtocol   = "rocket.server.error.protocol"      // connections closed for frames that were out of place
	counterTruncated  = "rocket.server.error.truncated"     // connections that ended in the middle of a frame
	counterTimeout    = "rocket.server.error.timeout"       // connections closed for being too slow to send or to take
	counterIdle       = "rocket.server.idle"                // connections closed because nothing happened on them
	counterMalformed  = "rocket.server.error.malformed"     // requests whose metadata or arguments do not decode
	counterUnknown    = "rocket.server.error.no_method"     // requests for methods that do not exist, or not in this kind
	counterExpired    = "rocket.server.error.expired"       // requests whose time was over before the answer was there
	counterRefused    = "rocket.server.error.refused"       // requests refused because of a limit or because the server stops
	counterException  = "rocket.server.exceptions"          // requests answered by an exception, declared or not
	counterCreditTime = "rocket.server.error.credit_expiry" // streams ended because the client granted nothing for too long
)
