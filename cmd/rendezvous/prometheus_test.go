package main

// The dashboard and the alerts, with a real Prometheus.

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	rendezvous "github.com/status-im/go-waku-rendezvous"
)

const (
	dashboardFile = "../../dashboards/rendezvous.json"
	alertsFile    = "../../dashboards/alerts.yml"
)

// dashboardQueries returns the queries of the dashboard, by panel.
func dashboardQueries(t testing.TB) map[string]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	b, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &dashboard))
	// The variables that Grafana replaces.
	variables := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m")
	queries := make(map[string]string)
	for _, panel := range dashboard.Panels {
		for i, target := range panel.Targets {
			queries[fmt.Sprintf("%s %d: %s", panel.Title, i, target.Expr)] = variables.Replace(target.Expr)
		}
	}
	require.Greater(t, len(queries), 20)
	return queries
}

// alertQueries returns the queries of the alerts, by name.
func alertQueries(t testing.TB) map[string]string {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	b, err := os.ReadFile(alertsFile)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(b, &rules))
	queries := make(map[string]string)
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			queries[rule.Alert] = rule.Expr
		}
	}
	require.Greater(t, len(queries), 5)
	return queries
}

// metricName matches the names of metrics in a query.
var metricName = regexp.MustCompile(`\b(?:libp2p|process|go|rendezvous)_[a-z0-9_]+\b|\bup\b`)

func metricsOf(queries map[string]string) map[string]bool {
	names := make(map[string]bool)
	for _, q := range queries {
		for _, name := range metricName.FindAllString(q, -1) {
			names[name] = true
		}
	}
	return names
}

// promServer is a running Prometheus.
type promServer struct {
	t   testing.TB
	url string
}

// startPrometheus starts a Prometheus that scrapes points and a client, and evaluates the
// alerts.
// It ends with the test.
func startPrometheus(t testing.TB, pointTargets []string, clientTarget string) *promServer {
	t.Helper()
	dir := t.TempDir()
	alerts, err := filepath.Abs(alertsFile)
	require.NoError(t, err)
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: rendezvous
    static_configs: [{targets: [%s]}]
  - job_name: client
    static_configs: [{targets: [%q]}]
`, alerts, strings.Join(pointTargets, ", "), clientTarget)
	configFile := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(configFile, []byte(config), 0o600))

	listen := freeAddr(t)
	var out output
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "prometheus", "--config.file="+configFile,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start(), ".ci/deps installs prometheus")
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // an error, because it was interrupted
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return &promServer{t, "http://" + listen}
}

// query returns the number of series in the result of a query.
func (p *promServer) query(q string) int {
	p.t.Helper()
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	_, body, _ := httpGet(p.t, p.url+"/api/v1/query?query="+url.QueryEscape(q))
	require.NoError(p.t, json.Unmarshal([]byte(body), &answer), body)
	require.Equal(p.t, "success", answer.Status, "%s: %s", q, answer.Error)
	return len(answer.Data.Result)
}

// rulesHealth returns the health of each alert, by its name, from its last evaluation.
func (p *promServer) rulesHealth() map[string]string {
	p.t.Helper()
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name   string `json:"name"`
					Health string `json:"health"`
				} `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	_, body, _ := httpGet(p.t, p.url+"/api/v1/rules")
	require.NoError(p.t, json.Unmarshal([]byte(body), &answer), body)
	health := make(map[string]string)
	for _, group := range answer.Data.Groups {
		for _, rule := range group.Rules {
			health[rule.Name] = rule.Health
		}
	}
	return health
}

// startMonitoredClient starts a client with metrics, which stays registered, and returns
// the target to scrape.
func startMonitoredClient(t testing.TB, point string) (target string) {
	t.Helper()
	infos, err := parsePointAddrs([]string{point})
	require.NoError(t, err)
	h, err := newClientHost(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	reg := prometheus.NewRegistry()
	client := rendezvous.NewClient(h, rendezvous.WithPoints(infos...), rendezvous.WithClientMetrics(reg))
	states, err := client.KeepRegistered(t.Context(), "news")
	require.NoError(t, err)
	waitFor(t, "the registration", func() bool { return (<-states).Findable() })
	_, err = client.Discover(t.Context(), infos[0].ID, "news", 0)
	require.NoError(t, err)
	server := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// target returns the target to scrape.
func (l *serveLog) target() string { return strings.Trim(strings.TrimPrefix(l.url, "http://"), "/") }

// exhaustStreams opens streams and sends half a request on each, until the point's
// resource manager resets one.
func exhaustStreams(t testing.TB, point string) {
	t.Helper()
	infos, err := parsePointAddrs([]string{point})
	require.NoError(t, err)
	h, err := newClientHost()
	require.NoError(t, err)
	defer h.Close()
	require.NoError(t, h.Connect(t.Context(), infos[0]))
	reset := make(chan struct{}, 1)
	for range 1000 {
		st, err := h.NewStream(t.Context(), infos[0].ID, rendezvous.RendezvousID_v001)
		if err == nil {
			_, err = st.Write([]byte{100})
		}
		if err != nil {
			return
		}
		go func() { // ends when the stream is reset or the host is closed
			if _, err := st.Read(make([]byte, 1)); err != nil {
				select {
				case reset <- struct{}{}:
				default:
				}
			}
		}()
		select {
		case <-reset:
			return
		default:
		}
	}
	t.Error("the point accepts 1000 streams of one peer")
}

// TestDashboardAndAlerts lets Prometheus scrape a point and a client, and runs all
// queries of the dashboard and the alerts. If a metric were renamed, a panel would be
// empty and an alert would never fire.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	point := startTestPoint(t)
	// In a process of its own, because those of libp2p's metrics are the process's.
	redisPoint := startPointProcess(t, build(t), "--listen", "/ip4/127.0.0.1/tcp/0", "--key", t.TempDir()+"/key",
		"--http", "127.0.0.1:0", "--storage", "redis://"+startRedis(t))
	targets := []string{strconv.Quote(point.target()), strconv.Quote(redisPoint.target())}
	server := startPrometheus(t, targets, startMonitoredClient(t, point.addrs[0]))

	dashboard, alerts := dashboardQueries(t), alertQueries(t)
	waitFor(t, "scrapes with all kinds of requests between them", func() bool {
		sendRefusedRequest(t, point.addrs[0])
		exhaustStreams(t, point.addrs[0])
		return server.ready() && server.query(`count_over_time(libp2p_rendezvous_registrations[1m]) > 3`) > 0 &&
			server.query("libp2p_rendezvous_client_registered_points") > 0
	})

	for _, queries := range []map[string]string{dashboard, alerts} {
		for name := range metricsOf(queries) {
			require.Positive(t, server.query(fmt.Sprintf("count({__name__=%q}) > 0", name)), "no series of metric %s", name)
		}
	}
	for name, q := range dashboard {
		require.Positive(t, server.query(q), "panel has no data: %s", name)
	}
	require.Equal(t, 1, server.query(alerts["RendezvousRefusesMany"]), "most requests were refused")
	require.Equal(t, 1, server.query(alerts["RendezvousOutOfResources"]), "a peer has exceeded its limit of streams")
	delete(alerts, "RendezvousRefusesMany")
	delete(alerts, "RendezvousOutOfResources")
	for name, q := range alerts {
		require.Zero(t, server.query(q), "%s fires for a healthy point", name)
	}
	waitFor(t, "Prometheus to evaluate every alert", func() bool {
		health := server.rulesHealth()
		for name := range alerts {
			if health[name] != "ok" {
				return false
			}
		}
		return true
	})

	point.stop()
	waitFor(t, "the alert about it", func() bool { return server.query(alerts["RendezvousPointDown"]) == 1 })
}

// ready reports whether the server answers queries.
func (p *promServer) ready() bool {
	conn, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		return false
	}
	_ = conn.Close()
	status, _, _ := httpGet(p.t, p.url+"/-/ready")
	return status == 200
}

// redisTests are tests for promtool: of the alerts on a registry in Redis, with a point
// whose shard goes away for a minute and then fails now and then, and of a panel, with a
// point on its own and two that share a registry.
const redisTests = `
rule_files: [%q]
evaluation_interval: 10s
tests:
  - interval: 10s
    input_series:
      - {series: 'libp2p_rendezvous_redis_shards{instance="a"}', values: '3x180'}
      - {series: 'libp2p_rendezvous_redis_shards_down{instance="a"}', values: '0x29 1x6 0x200'}
      - {series: 'libp2p_rendezvous_redis_partial_samples_total{instance="a"}', values: '0x29 1+1x5 6x200'}
      - {series: 'libp2p_rendezvous_redis_shard_failures_total{instance="a"}', values: '0x29 40+40x5 240x30 240+4x110'}
    alert_rule_test:
      - {eval_time: 4m, alertname: RendezvousRedisShardsDown}
      - {eval_time: 4m, alertname: RendezvousRedisPartialAnswers}
      - {eval_time: 4m, alertname: RendezvousRedisFlapping}
      - eval_time: 5m50s
        alertname: RendezvousRedisShardsDown
        exp_alerts:
          - exp_labels: {severity: page, instance: a}
            exp_annotations: {summary: "a cannot reach 1 shards of its registry"}
      - {eval_time: 7m, alertname: RendezvousRedisShardsDown}
      - eval_time: 8m
        alertname: RendezvousRedisPartialAnswers
        exp_alerts:
          - exp_labels: {severity: warn, instance: a}
            exp_annotations: {summary: "a answers without the registrations of some shards"}
      - {eval_time: 20m, alertname: RendezvousRedisPartialAnswers}
      - {eval_time: 20m, alertname: RendezvousRedisShardsDown}
      - eval_time: 25m
        alertname: RendezvousRedisFlapping
        exp_alerts:
          - exp_labels: {severity: warn, instance: a}
            exp_annotations: {summary: "3.333%% of the visits of a to its Redis servers fail"}
  - interval: 10s
    input_series:
      - {series: 'libp2p_rendezvous_registrations{job="j",instance="a"}', values: '5x10'}
      - {series: 'libp2p_rendezvous_registrations{job="j",instance="b"}', values: '100x10'}
      - {series: 'libp2p_rendezvous_registrations{job="j",instance="c"}', values: '101x10'}
      - {series: 'libp2p_rendezvous_registrations{job="other",instance="d"}', values: '1000x10'}
      - {series: 'libp2p_rendezvous_redis_shards{job="j",instance="b"}', values: '1x10'}
      - {series: 'libp2p_rendezvous_redis_shards{job="j",instance="c"}', values: '1x10'}
      - {series: 'libp2p_rendezvous_redis_shards{job="other",instance="d"}', values: '1x10'}
    promql_expr_test:
      - {expr: %q, eval_time: 30s, exp_samples: [{value: 1106}]}
`

// TestRedisRules: the alerts on Redis fire when they should, and the dashboard counts a
// shared registry once.
func TestRedisRules(t *testing.T) {
	alerts, err := filepath.Abs(alertsFile)
	require.NoError(t, err)
	panel := ""
	for name, q := range dashboardQueries(t) {
		if strings.HasPrefix(name, "Live registrations 0: sum(") {
			panel = q
		}
	}
	require.NotEmpty(t, panel)
	file := filepath.Join(t.TempDir(), "tests.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, redisTests, alerts, panel), 0o600))
	out, err := exec.CommandContext(t.Context(), "promtool", "test", "rules", file).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestAlertsAreWellFormed(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", alertsFile).CombinedOutput()
	require.NoError(t, err, string(out))
}
