package main

// The results of a run, which can be saved as JSON.

import (
	"encoding/json"
	"fmt"
	"os"
)

type report struct {
	Go           string     `json:"go"`
	Platform     string     `json:"platform"`
	CPUs         int        `json:"cpus"`
	Clients      int        `json:"clients"`
	Rounds       int        `json:"rounds"`
	RoundSeconds float64    `json:"round_seconds"`
	Requests     []result   `json:"requests"`
	Heap         []heap     `json:"heap,omitempty"`
	Idle         []idleCost `json:"crowd,omitempty"`
	Kept         []keptCost `json:"kept,omitempty"`
}

func readReport(file string) (*report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

func (r *report) save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// find returns a side's result of an experiment over TCP.
func (r *report) find(request, stream, side string) (result, bool) {
	for _, x := range r.Requests {
		if x.Transport == "TCP" && x.Request == request && x.Stream == stream && x.Side == side {
			return x, true
		}
	}
	return result{}, false
}

// target is a rate ratio that a side should reach over TCP.
type target struct {
	request, stream, side string
	ratio                 float64
}

// keptTarget is the CPU ratio that clients that stay registered should reach over TCP. They send no
// more requests than they need, so they have no rate that could be compared.
const keptTarget = 2.5

var targets = []target{
	{"REGISTER again", freshStream, "memory", 0.92},
	{"REGISTER first", freshStream, "memory", 0.57},
	{"DISCOVER 50 of 100,000", freshStream, "memory", 0.90},
	{"DISCOVER 1000 of 100,000", freshStream, "memory", 0.70},
	{"REGISTER again", keptStream, "memory", 0.85},
	{"REGISTER again", freshStream, "library", 2.5}, // in a loop; keptTarget is for clients that stay registered
	{"DISCOVER 50 of 1,000", freshStream, "library", 1.5},
}
