package redisstorage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseURL(t *testing.T) {
	for url, want := range map[string]struct {
		addrs          []string
		user, password string
		db             int
		tls, skip      bool
	}{
		"redis://host":                                {addrs: []string{"host:6379"}},
		"redis://host:1234/":                          {addrs: []string{"host:1234"}},
		"valkey://127.0.0.1:1/3":                      {addrs: []string{"127.0.0.1:1"}, db: 3},
		"redis://[::1]:5":                             {addrs: []string{"[::1]:5"}},
		"redis://[::1]":                               {addrs: []string{"[::1]:6379"}},
		"redis://:secret@host":                        {addrs: []string{"host:6379"}, password: "secret"},
		"redis://user:p%40ss%2F,w@host":               {addrs: []string{"host:6379"}, user: "user", password: "p@ss/,w"},
		"redis://user:a@b@host":                       {addrs: []string{"host:6379"}, user: "user", password: "a@b"},
		"redis://a,b:1,[::2]:3,c":                     {addrs: []string{"a:6379", "b:1", "[::2]:3", "c:6379"}},
		"redis://u:p@a:1,b:2/0":                       {addrs: []string{"a:1", "b:2"}, user: "u", password: "p"},
		"redis://a:1?addr=b&addr=c:3":                 {addrs: []string{"a:1", "b:6379", "c:3"}},
		"rediss://host":                               {addrs: []string{"host:6379"}, tls: true},
		"valkeys://a,b/0?skip_verify=true&addr=[::4]": {addrs: []string{"a:6379", "b:6379", "[::4]:6379"}, tls: true, skip: true},
	} {
		got, err := parseURL(url)
		require.NoError(t, err, url)
		require.Equal(t, want.addrs, got.InitAddress, url)
		require.Equal(t, want.user, got.Username, url)
		require.Equal(t, want.password, got.Password, url)
		require.Equal(t, want.db, got.SelectDB, url)
		require.Equal(t, want.tls, got.TLSConfig != nil, url)
		require.Equal(t, want.skip, got.TLSConfig != nil && got.TLSConfig.InsecureSkipVerify, url)
	}
}

// TestParseURLErrors checks that wrong URLs are errors, which do not contain the password.
func TestParseURLErrors(t *testing.T) {
	for _, url := range []string{
		"",
		"host:6379",
		"redis://",
		"redis://:pass-word@",
		"redis://u:pass-word@host,",
		"redis://u:pass-word@,host",
		"redis://u:pass-word@host:0",
		"redis://u:pass-word@host:70000",
		"redis://u:pass-word@host:port",
		"redis://u:pass-word@a:b:c",
		"redis://u:pass-word@host/one",
		"redis://u:pass-word@host/-1",
		"redis://u:pass-word@host/1/2",
		"redis://u:pass-word@host?skip_verify=true",
		"rediss://u:pass-word@host?skip_verify=perhaps",
		"rediss://u:pass-word@host?skip_verify",
		"redis://u:pass-word@host?database=1",
		"redis://u:pass-word@host?addr=",
		"redis://u:pass-word%zz@host",
		"redis://u:pass-word@host?%zz",
		"http://u:pass-word@host",
	} {
		_, err := parseURL(url)
		require.ErrorIs(t, err, ErrInvalidURL, url)
		require.NotContains(t, err.Error(), "pass-word", url)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://u:p@a:1,[::1]:2/3?addr=c&skip_verify=true")
	f.Fuzz(func(t *testing.T, url string) {
		option, err := parseURL(url)
		if err == nil && len(option.InitAddress) == 0 {
			t.Errorf("%q was accepted without a server", url)
		}
	})
}
