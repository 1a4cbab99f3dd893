package redisstorage

// Parsing the URL of the servers.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

const defaultPort = "6379"

// ErrInvalidURL is the error of [Open] if it cannot parse the URL. Another call with the
// same URL fails as well.
var ErrInvalidURL = errors.New("parse URL of the servers")

// parseURL parses the URL that [Open] takes. Its errors do not contain the URL, which may
// contain a password.
func parseURL(s string) (rueidis.ClientOption, error) {
	option, err := parse(s)
	if err == nil {
		return option, nil
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return rueidis.ClientOption{}, fmt.Errorf("%w: %w", ErrInvalidURL, err)
}

func parse(s string) (option rueidis.ClientOption, err error) {
	s, hosts, err := cutHosts(s)
	if err != nil {
		return option, err
	}
	u, err := url.Parse(s)
	if err != nil {
		return option, err
	}
	switch u.Scheme {
	case "redis", "valkey":
	case "rediss", "valkeys":
		option.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return option, fmt.Errorf("scheme %q is neither redis nor rediss", u.Scheme)
	}
	option.Username = u.User.Username()
	option.Password, _ = u.User.Password()
	if db := strings.TrimPrefix(u.Path, "/"); db != "" {
		option.SelectDB, err = strconv.Atoi(db)
		if err != nil || option.SelectDB < 0 {
			return option, fmt.Errorf("%q is not a database number", db)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return option, err
	}
	for name, values := range query {
		switch name {
		case "addr":
			hosts = append(hosts, values...)
		case "skip_verify":
			skip, err := strconv.ParseBool(values[0])
			if err != nil || option.TLSConfig == nil {
				return option, errors.New("skip_verify must be true or false, and requires the scheme rediss")
			}
			option.TLSConfig.InsecureSkipVerify = skip
		default:
			return option, fmt.Errorf("unknown parameter %q", name)
		}
	}
	for _, host := range hosts {
		addr, err := address(host)
		if err != nil {
			return option, err
		}
		option.InitAddress = append(option.InitAddress, addr)
	}
	return option, nil
}

// cutHosts removes the hosts from a URL, because net/url does not parse a list of hosts.
func cutHosts(s string) (without string, hosts []string, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "", nil, errors.New("no scheme")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndex(rest[:end], "@") + 1
	return scheme + "://" + rest[:at] + rest[end:], strings.Split(rest[at:end], ","), nil
}

// address returns a host with its port, or with the default port if it has none.
func address(host string) (string, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port, err = net.SplitHostPort(host + ":" + defaultPort)
	}
	if err != nil || name == "" {
		return "", fmt.Errorf("%q is not a host and port", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is not a port", port)
	}
	return net.JoinHostPort(name, port), nil
}
