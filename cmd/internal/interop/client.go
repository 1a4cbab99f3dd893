package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// commandTimeout is the time for one command. Starting a page takes longest.
const commandTimeout = 30 * time.Second

// client is a peer of js-libp2p with the rendezvous client of @canvas-js/libp2p-rendezvous,
// whose commands are in interop/peer.js, or with its server, which knows only the commands
// start and stop of interop/server.js.
type client struct {
	at remote
}

// remote is a program that carries out commands of interop/peer.js or interop/server.js.
type remote interface {
	// call sends a command as JSON and returns the answer as JSON.
	call(ctx context.Context, command []byte) ([]byte, error)
	// close ends the program.
	close()
}

// autoRegister makes the client register by itself, again and again.
type autoRegister struct {
	Namespaces     []string `json:"namespaces"`
	Multiaddrs     []string `json:"multiaddrs"` // of the point
	TTL            int      `json:"ttl"`        // seconds
	InitialTimeout int      `json:"initialTimeout"`
}

// settings are the arguments of the command start.
type settings struct {
	Protocol string        `json:"protocol"` // empty: the client's own
	Listen   []string      `json:"listen"`
	Announce []string      `json:"announce"`
	Auto     *autoRegister `json:"auto"`
}

// self is what a client says of itself.
type self struct {
	ID       string   `json:"id"`
	Addrs    []string `json:"addrs"`
	Protocol string   `json:"protocol"`
}

// request is one of the requests that a client makes on one stream.
type request struct {
	Op    string `json:"op"` // register, discover, unregister
	NS    string `json:"ns"`
	TTL   int    `json:"ttl,omitempty"` // seconds
	Limit int    `json:"limit,omitempty"`
}

// result is the client's result of a request.
type result struct {
	TTL   int     `json:"ttl"`   // of register, in seconds
	Peers []found `json:"peers"` // of discover
}

type found struct {
	ID string `json:"id"`
}

// start starts the peer, or the point, which is to speak a protocol.
func (c *client) start(ctx context.Context, id protocol.ID, s settings) (self, error) {
	if id != canvasID { // which needs no setting
		s.Protocol = string(id)
	}
	if s.Listen == nil {
		s.Listen = []string{}
	}
	if s.Announce == nil {
		s.Announce = []string{}
	}
	me, err := command[self](ctx, c, "start", s)
	if err == nil && me.Protocol != string(id) {
		err = fmt.Errorf("it speaks %s, not %s", me.Protocol, id)
	}
	return me, err
}

// requests makes requests on one stream, and returns a result for each.
func (c *client) requests(ctx context.Context, point string, requests ...request) ([]result, error) {
	r, err := command[struct{ Results []result }](ctx, c, "requests", map[string]any{"point": point, "requests": requests})
	if err == nil && len(r.Results) != len(requests) {
		err = fmt.Errorf("%d results of %d requests", len(r.Results), len(requests))
	}
	return r.Results, err
}

// discover returns the peers in a namespace.
func (c *client) discover(ctx context.Context, point, ns string) ([]found, error) {
	r, err := c.requests(ctx, point, request{Op: "discover", NS: ns})
	if err != nil {
		return nil, err
	}
	return r[0].Peers, nil
}

// dial connects to a peer that discover returned.
func (c *client) dial(ctx context.Context, id string) error {
	_, err := command[struct{}](ctx, c, "dial", map[string]string{"peer": id})
	return err
}

// discovered returns the peers that an autoRegister has found.
func (c *client) discovered(ctx context.Context) ([]string, error) {
	r, err := command[struct{ Peers []string }](ctx, c, "discovered", nil)
	return r.Peers, err
}

// connections returns the addresses of the client's connections.
func (c *client) connections(ctx context.Context) ([]string, error) {
	r, err := command[struct{ Addrs []string }](ctx, c, "connections", nil)
	return r.Addrs, err
}

func (c *client) stop(ctx context.Context) error {
	_, err := command[struct{}](ctx, c, "stop", nil)
	return err
}

// command has the client carry out a command, and returns its result.
func command[T any](ctx context.Context, c *client, name string, args any) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var answer struct {
		Result T      `json:"result"`
		Error  string `json:"error"`
	}
	line, err := json.Marshal(map[string]any{"command": name, "args": args})
	if err == nil {
		line, err = c.at.call(ctx, line)
	}
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		return answer.Result, fmt.Errorf("%s: %w", name, err)
	}
	return answer.Result, nil
}
