module github.com/status-im/go-waku-rendezvous

go 1.26.6

require google.golang.org/protobuf v1.36.12
