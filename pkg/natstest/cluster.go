package natstest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	clusterSize  = 3
	clusterReady = 30 * time.Second
)

// Cluster is three servers in this process that replicate streams and consumers among them.
type Cluster struct {
	opts  []*server.Options
	nodes []*server.Server
}

// RunCluster starts three nodes and returns when they elected a leader and accept replicated streams.
func RunCluster(t testing.TB) *Cluster {
	t.Helper()
	var routes, clients []*net.TCPAddr
	for range clusterSize {
		routes, clients = append(routes, FreeAddress(t)), append(clients, FreeAddress(t))
	}
	c := &Cluster{nodes: make([]*server.Server, clusterSize)}
	for i := range clusterSize {
		c.opts = append(c.opts, &server.Options{
			ServerName: fmt.Sprintf("node-%d", i), Host: clients[i].IP.String(), Port: clients[i].Port,
			NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "natstest", Host: routes[i].IP.String(), Port: routes[i].Port},
			Routes:  routeURLs(routes),
		})
	}
	t.Cleanup(func() {
		for i := range clusterSize {
			c.Stop(i)
		}
	})
	for i := range clusterSize {
		c.Start(t, i)
	}
	c.awaitReplication(t)
	return c
}

// Start starts node i again on its data.
func (c *Cluster) Start(t testing.TB, i int) {
	t.Helper()
	s, err := server.NewServer(c.opts[i].Clone())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	c.nodes[i] = s
	if !s.ReadyForConnections(clusterReady) {
		t.Fatalf("node %d is not ready", i)
	}
}

// Stop stops node i and keeps its data. It may be called twice.
func (c *Cluster) Stop(i int) {
	if s := c.nodes[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.nodes[i] = nil
	}
}

// URL names all nodes.
func (c *Cluster) URL() string {
	var urls []string
	for _, o := range c.opts {
		urls = append(urls, "nats://"+net.JoinHostPort(o.Host, fmt.Sprint(o.Port)))
	}
	return strings.Join(urls, ",")
}

// Connect opens a connection that is closed with the test.
func (c *Cluster) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	return connect(t, c.URL())
}

// JetStream opens a connection for provisioning and looking; it is closed with the test.
func (c *Cluster) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	return jetStream(t, c.Connect(t))
}

// StreamLeader is the node that leads a stream, or -1 while there is none.
func (c *Cluster) StreamLeader(ctx context.Context, js jetstream.JetStream, stream string) int {
	s, err := js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return -1
	}
	for i, o := range c.opts {
		if o.ServerName == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	return -1
}

// awaitReplication probes with a stream, because a node reports itself ready before it may place replicas.
func (c *Cluster) awaitReplication(t testing.TB) {
	t.Helper()
	js := c.JetStream(t)
	probe := jetstream.StreamConfig{Name: "NATSTEST_PROBE", Replicas: clusterSize}
	Eventually(t, clusterReady, "a replicated stream can be made", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateStream(ctx, probe)
		return err == nil
	})
	if err := js.DeleteStream(context.Background(), probe.Name); err != nil {
		t.Fatal(err)
	}
}

func routeURLs(addresses []*net.TCPAddr) []*url.URL {
	var urls []*url.URL
	for _, a := range addresses {
		urls = append(urls, &url.URL{Scheme: "nats-route", Host: a.String()})
	}
	return urls
}
