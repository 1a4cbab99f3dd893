package rendezvous

import "github.com/libp2p/go-libp2p/gologshim"

// log follows go-libp2p's settings (GOLOG_LOG_LEVEL=rendezvous=debug). What a
// remote peer can cause is logged at debug and nowhere above, so that nobody
// fills a disk from afar.
var log = gologshim.Logger("rendezvous")
