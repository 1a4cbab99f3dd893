package points

// defaultRelayData is how many bytes a relay carries for one connection unless it says
// otherwise.
const defaultRelayData = 128 << 10

// answerBudget returns how long an answer over a relayed connection should be, given what
// the relay says of its limit: half of that, because the connection also has to carry
// handshakes, and other answers.
func answerBudget(limit any) int {
	data, ok := limit.(uint64)
	if !ok || data == 0 || data > defaultRelayData*64 {
		data = defaultRelayData
	}
	return int(data / 2)
}

const (
	// usualRegistration is the size of a registration in an answer, in bytes, unless it has
	// many addresses.
	usualRegistration = 400
	maxRegistration   = 8 << 10
)

// registrationSize is how many bytes a registration takes in the answers of a point. 0 is as
// many as usual.
type registrationSize int

// fit returns how many registrations fit into a number of bytes, at most limit.
func (s *registrationSize) fit(bytes, limit int) int {
	return min(limit, max(1, bytes/max(usualRegistration, int(*s))))
}

// add records the size of an answer with n registrations.
func (s *registrationSize) add(n, bytes int) {
	if n > 0 {
		*s = registrationSize(bytes / n)
	}
}

// grow records that an answer did not come through. It may have been too long.
func (s *registrationSize) grow() { *s = min(maxRegistration, 2*max(usualRegistration, *s)) }
