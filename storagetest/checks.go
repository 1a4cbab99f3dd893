package storagetest

// The list of checks.

// check tests one sentence of the contract.
type check struct {
	name string
	run  func(*suite)
	// unless reports whether a storage need not pass the check. Nil: every storage
	// must.
	unless func(config) bool
	// pager says that the check is one of a [rendezvous.Pager].
	pager bool
}

func (c check) applies(cfg config) bool { return c.unless == nil || !c.unless(cfg) }

func notDurable(c config) bool        { return c.reopen == nil }
func approximateLimits(c config) bool { return c.approximateLimits }
func approximateAll(c config) bool    { return c.approximateAll }

var checks = []check{
	{name: "an empty storage has no records", run: checkEmpty},
	{name: "a record comes back unchanged", run: checkRoundTrip},
	{name: "adding again replaces the record", run: checkReplace},
	{name: "namespaces and peer IDs are arbitrary bytes", run: checkArbitraryBytes},

	{name: "a record is live before its deadline and gone at it", run: checkDeadline},
	{name: "a refresh moves the deadline earlier or later", run: checkRefreshMovesDeadline},
	{name: "a deadline in the past removes the record", run: checkPastDeadline},
	{name: "an expired record takes no memory", run: checkExpiredRemoved},

	{name: "a sample has n records or all", run: checkSampleSize},
	{name: "a sample has no expired record", run: checkNoneExpired},
	{name: "a sample is uniform", run: checkUniform},
	{name: "a sample is uniform over pairs", run: checkUniformPairs},
	{name: "a sample is uniform in its first record", run: checkUniformFirst},
	{name: "a sample is uniform after churn", run: checkUniformAfterChurn},
	{name: "a sample is uniform over all namespaces", run: checkUniformAll, unless: approximateAll},

	{name: "a sample stops at a number of bytes", run: checkSampleBytes},

	{name: "the limit per peer is enforced", run: checkPeerLimit},
	{name: "the limit in total is enforced", run: checkTotalLimit},
	{name: "the limit per origin is enforced", run: checkOriginLimit},
	{name: "the limit per origin is wider for wide networks", run: checkWideOriginLimit},
	{name: "a refresh moves to the origin that it comes from", run: checkMovedOrigin},
	{name: "an expired record counts for no origin", run: checkExpiredOriginNotCounted},
	{name: "the limit of bytes is enforced", run: checkByteLimit},
	{name: "a limit of zero is no limit", run: checkZeroLimit},
	{name: "a refresh at the limit is accepted", run: checkRefreshAtLimit},
	{name: "an expired record counts against no limit", run: checkExpiredNotCounted},
	{name: "an expired record that is added again is new", run: checkExpiredIsNew},
	{name: "limits are enforced when many add at once", run: checkConcurrentLimits, unless: approximateLimits},

	{name: "all methods can be called concurrently", run: checkConcurrentCalls},
	{name: "Add copies the envelope", run: checkAddCopies},
	{name: "the envelopes of a sample never change", run: checkSampleUnchanged},
	{name: "a context that has ended is honoured", run: checkEndedContext},
	{name: "Counts returns what is held", run: checkCounts},

	{name: "Close is idempotent", run: checkCloseTwice},
	{name: "a closed storage returns ErrClosed", run: checkClosedErrors},
	{name: "Close may be called during other calls", run: checkCloseWhileBusy},
	{name: "acknowledged records survive the process", run: checkSurvives, unless: notDurable},

	{name: "pages have all records in the order in which they were added", run: checkPageOrder, pager: true},
	{name: "a caller that follows cursors sees each record once, and what is new", run: checkPageDuringChanges, pager: true},
	{name: "pages skip nothing while others add", run: checkConcurrentPages, pager: true},
	{name: "a page has n records or all that are left", run: checkPageSize, pager: true},
	{name: "a page stops at a number of bytes", run: checkPageBytes, pager: true},
	{name: "a cursor that the storage did not make counts as the zero cursor", run: checkForeignCursors, pager: true},
	{name: "a page has no expired record", run: checkPageDeadlines, pager: true},
	{name: "the envelopes of a page never change", run: checkPageUnchanged, pager: true},
	{name: "kinds of records have their own pages, and samples one kind", run: checkKinds, pager: true},
	{name: "Remove ends registrations", run: checkRemove, pager: true},
	{name: "the methods of a Pager honour their context and Close", run: checkPagerCalls, pager: true},
	{name: "cursors survive the process", run: checkPagesSurvive, unless: notDurable, pager: true},

	{name: "a sample has only what is fresh", run: checkFreshness, pager: true},
	{name: "a sample is uniform over what is fresh", run: checkUniformFresh, pager: true},
	{name: "Renew makes registrations fresh", run: checkRenew, pager: true},
	{name: "lasting records take half of the total", run: checkLastingTotal, pager: true},
	{name: "there is room for one lasting record", run: checkLastingOne, pager: true},
	{name: "lasting records take half of the bytes", run: checkLastingBytes, pager: true},
	{name: "a lasting record counts until its deadline", run: checkStaleCounts, pager: true},
	{name: "freshness survives the process", run: checkFreshnessSurvives, unless: notDurable, pager: true},
}
