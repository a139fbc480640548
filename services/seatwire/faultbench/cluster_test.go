package faultbench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// nodes is the size of a cluster, and how often it keeps everything.
const nodes = 3

// nodeFlag makes a test binary one node of a cluster; its value is a node as JSON.
const nodeFlag = "node"

var nodePlace = flag.String(nodeFlag, "", "internal: be the node of a NATS cluster that the `JSON` describes")

// node is one NATS server of three, a process.
type node struct {
	Name, Client, Route, Dir string
	// Key encrypts what it stores; empty leaves it plain.
	Key string
	// Routes are where it finds the others: proxies of its own.
	Routes []string
	// program is the NATS server's that runs it, a file; empty is this test binary. The others are only of use with it:
	// where it says how it is, and what it logged since its start.
	program, monitor string
	log              *serverLog
	child            *child
}

// serve is the child's life, as serveBroker is a single server's.
func (n node) serve() error {
	opts := &server.Options{
		ServerName: n.Name, NoSigs: true, NoLog: true, JetStream: true, StoreDir: n.Dir, SyncAlways: true, JetStreamMaxStore: maxStore,
		JetStreamCipher: server.ChaCha, JetStreamKey: n.Key,
		// Nobody may hear of a way round the proxies, so none is told to clients, and one that leads nowhere to nodes.
		Cluster: server.ClusterOpts{Name: "faultbench", NoAdvertise: true, Advertise: "127.0.0.1:1"},
	}
	opts.Host, opts.Port = split(n.Client)
	opts.Cluster.Host, opts.Cluster.Port = split(n.Route)
	for _, address := range n.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: address})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(startLimit) {
		return fmt.Errorf("%s is not ready", n.Name)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // the end, however it comes, is what we wait for
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

func serveNode(place string) error {
	var n node
	if err := json.Unmarshal([]byte(place), &n); err != nil {
		return err
	}
	return n.serve()
}

func split(address string) (host string, port int) {
	host, text, _ := net.SplitHostPort(address)
	port, _ = strconv.Atoi(text) // an address of our own
	return host, port
}

// cluster is three nodes, with a link that can break between any two, and between the services and each.
type cluster struct {
	nodes   []*node
	clients []*proxy
	// routes[i][j] is where i finds j.
	routes [nodes][nodes]*proxy
}

// startCluster starts one whose nodes are run by o.Server, see node, each in a directory that o.StoreDir makes.
func startCluster(t *testing.T, o Options) *cluster {
	t.Helper()
	c := &cluster{}
	for i := range nodes {
		n := &node{Name: fmt.Sprintf("node-%d", i), Client: freeAddress(t), Route: freeAddress(t), Dir: o.StoreDir(), Key: o.StoreKey}
		n.program, n.monitor = o.Server, freeAddress(t)
		c.nodes = append(c.nodes, n)
		c.clients = append(c.clients, startProxy(t, n.Client))
	}
	for i, n := range c.nodes {
		for j, other := range c.nodes {
			if i != j {
				c.routes[i][j] = startProxy(t, other.Route)
				n.Routes = append(n.Routes, c.routes[i][j].address())
			}
		}
	}
	for i := range c.nodes {
		c.start(t, i)
		t.Cleanup(func() { c.nodes[i].child.kill() })
	}
	return c
}

// start starts a node on its data, and returns when it listens; that it has caught up is another matter.
func (c *cluster) start(t *testing.T, i int) {
	t.Helper()
	if c.nodes[i].program != "" {
		c.nodes[i].launch(t)
		return
	}
	place, err := json.Marshal(c.nodes[i])
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[i].child = startChild(t, "-"+nodeFlag+"="+string(place))
}

func (c *cluster) kill(i int) { c.nodes[i].child.kill() }

// url is where services find the cluster: through the proxies.
func (c *cluster) url() string {
	var urls []string
	for _, p := range c.clients {
		urls = append(urls, "nats://"+p.address())
	}
	return strings.Join(urls, ",")
}

// direct is where the judges find it.
func (c *cluster) direct() string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, "nats://"+n.Client)
	}
	return strings.Join(urls, ",")
}

func (c *cluster) replicas() int { return nodes }

// between visits the links between one node and the others: out is what the node sends, in what it is sent. Either end
// may have dialled, so both proxies of a pair are its.
func (c *cluster) between(i int, visit func(out, in *gate)) {
	for j := range c.nodes {
		if i != j {
			visit(&c.routes[i][j].forth, &c.routes[i][j].back)
			visit(&c.routes[j][i].back, &c.routes[j][i].forth)
		}
	}
}

// heal opens every link.
func (c *cluster) heal() {
	for i, p := range c.clients {
		p.forth.open()
		p.back.open()
		c.between(i, func(out, in *gate) { out.open(); in.open() })
	}
}

// leader is the node that leads a stream, -1 when nobody knows.
func (b *Bench) leader(stream string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return -1
	}
	for i, n := range b.cluster.nodes {
		if n.Name == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	return -1
}
