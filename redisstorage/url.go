package redisstorage

// URLs that name servers.

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

// parseURL reads what [Open] takes. Its errors do not show the URL, which may hold
// a password.
func parseURL(s string) (rueidis.ClientOption, error) {
	option, err := parse(s)
	if err == nil {
		return option, nil
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return rueidis.ClientOption{}, fmt.Errorf("URL of the servers: %w", err)
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
			return option, fmt.Errorf("%q is no database number", db)
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
				return option, errors.New("skip_verify is true or false, and for rediss only")
			}
			option.TLSConfig.InsecureSkipVerify = skip
		default:
			return option, fmt.Errorf("parameter %q is unknown", name)
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

// cutHosts takes the hosts out of a URL: it may have several, and net/url knows
// nothing of that.
func cutHosts(s string) (without string, hosts []string, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "", nil, errors.New("it has no scheme")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndex(rest[:end], "@") + 1
	return scheme + "://" + rest[:at] + rest[end:], strings.Split(rest[at:end], ","), nil
}

// address makes the port explicit.
func address(host string) (string, error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port, err = net.SplitHostPort(host + ":" + defaultPort)
	}
	if err != nil || name == "" {
		return "", fmt.Errorf("%q is no host and port", host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is no port", port)
	}
	return net.JoinHostPort(name, port), nil
}
