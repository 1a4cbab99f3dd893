// Package storagetest tests whether a [rendezvous.Storage] fulfils its contract:
//
//	func TestStorage(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) rendezvous.Storage {
//			s, err := mystorage.Open(t.TempDir())
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// Each test opens a storage, which must be empty, and closes it. If opening it needs
// something else, such as a database, close that with t.Cleanup.
//
// Each test runs in a [testing/synctest] bubble, where time is virtual: the test takes
// milliseconds, and deadlines are exact to the nanosecond. A storage that talks to
// another process cannot run in a bubble; see [RealTime].
//
// The tests of uniformity fail for a correct storage about once in a million runs.
package storagetest
