package faultbench

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/natstest"
)

// nodes is the size of a cluster, and how often it keeps everything.
const nodes = 3

// cluster is three nodes, with a link that can break between any two, and between the services and each.
type cluster struct {
	nodes   []*node
	clients []*proxy
	// routes[i][j] is where i finds j.
	routes [nodes][nodes]*proxy
}

// startCluster starts one whose nodes are run by o.Server, each in a directory that o.StoreDir makes.
func startCluster(t *testing.T, o Options) *cluster {
	t.Helper()
	c := &cluster{}
	for i := range nodes {
		n := newNode(t, fmt.Sprintf("node-%d", i), o.StoreDir())
		n.program, n.key, n.route = cmp.Or(o.Server, n.program), o.StoreKey, natstest.FreeAddress(t).String()
		c.nodes = append(c.nodes, n)
		c.clients = append(c.clients, startProxy(t, n.client))
	}
	for i, n := range c.nodes {
		for j, other := range c.nodes {
			if i != j {
				c.routes[i][j] = startProxy(t, other.route)
				n.routes = append(n.routes, c.routes[i][j].address())
			}
		}
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	return c
}

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
		urls = append(urls, "nats://"+n.client)
	}
	return strings.Join(urls, ",")
}

func (c *cluster) replicas() int { return nodes }

// size is the number of nodes, 0 when there is no cluster.
func (c *cluster) size() int {
	if c == nil {
		return 0
	}
	return len(c.nodes)
}

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
		if n.name == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	return -1
}
