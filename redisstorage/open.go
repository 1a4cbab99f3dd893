package redisstorage

// Opening a storage.

import (
	"context"
	"errors"
	"fmt"
)

// Open connects to the servers in a URL:
//
//	redis://[[user]:password@]host[:port][/database]
//	redis://[[user]:password@]host[:port],host[:port],...
//
// The default port is 6379. The scheme rediss uses TLS; the parameter ?skip_verify=true
// accepts any certificate. The schemes valkey and valkeys mean the same as redis and
// rediss.
//
// Several hosts must be members of one cluster. One of them has to answer. More hosts
// can be given as parameters: ?addr=host:port&addr=host:port. With one host, Open asks
// the server whether it belongs to a cluster. A cluster has only database 0.
//
// If no server can be reached, Open retries until ctx ends. It returns permanent errors,
// such as a wrong password, at once. (A server that does not speak TLS looks like one that
// cannot be reached.) The storage does not use ctx after Open returns.
func Open(ctx context.Context, url string, opts ...Option) (*Storage, error) {
	s, err := openStorage(ctx, url, opts)
	if err != nil {
		return nil, fmt.Errorf("open redis storage: %w", err)
	}
	return s, nil
}

func openStorage(ctx context.Context, url string, opts []Option) (*Storage, error) {
	option, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	if cfg.tls != nil {
		if option.TLSConfig == nil {
			return nil, errors.New("WithTLS requires a URL with the scheme rediss")
		}
		option.TLSConfig = cfg.tls
	}
	client, err := connect(ctx, option)
	if err != nil {
		return nil, err
	}
	if isCluster(client) && option.SelectDB != 0 {
		client.Close()
		return nil, fmt.Errorf("no database %d: a cluster has only database 0", option.SelectDB)
	}
	checkPolicy(ctx, client)
	return newStorage(ctx, client, cfg.prefix, cfg.now), nil
}
