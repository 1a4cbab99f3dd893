package limit

// Verdict is what to do with a request.
type Verdict int

const (
	// Serve the request: it is within its budgets.
	Serve Verdict = iota
	// Decline the request: answer that there were too many.
	Decline
	// Drop the stream without an answer: there were far too many requests.
	Drop
)
