package control

import "time"

// A node is a stage among the others, at one time.
type node struct {
	stats   StageStats
	running int           // loops over it
	idle    time.Duration // since the last one ended, where none runs
	below   int           // the index of the stage that pulls on it; -1: the consumer does
	feeds   bool          // it is the source of a fan, of which others above below are the lanes
}

// minWatched is how long a stage must have been watched to say something of it.
const minWatched = time.Millisecond

func (n node) watched() bool { return n.stats.WaitUp+n.stats.WaitDown >= minWatched }

// waits is the part of its time for which it is waited for. It is as if it had been waited
// for since it ended, so much longer ago than others.
func (n node) waits(longer time.Duration) float64 {
	up, down := float64(n.stats.WaitUp+longer), float64(n.stats.WaitDown)
	return up / (up + down)
}

// shares returns for each stage, and last for the consumer, which part of the time goes
// there, as [Monitor.Bottleneck] has it: together 1. It returns none while there is not
// enough to say.
func shares(nodes []node) []float64 {
	d := division{nodes: nodes, shares: make([]float64, len(nodes)+1)}
	streams, feeds := d.above(-1, nil, nil)
	if len(streams)+len(feeds) == 0 {
		return nil
	}
	d.shares[len(nodes)] = 1 - d.divide(streams, [][]int{feeds}, 1)
	return d.shares
}

// A division divides the time among the nodes.
type division struct {
	nodes  []node
	shares []float64
}

// above adds the streams that stage i draws on, and the sources of the fans that these
// are lanes of. A stage that was not watched is as if it were not there.
func (d *division) above(i int, streams, feeds []int) ([]int, []int) {
	for j, n := range d.nodes {
		switch {
		case n.below != i:
		case !n.watched():
			streams, feeds = d.above(j, streams, feeds)
		case n.feeds:
			feeds = append(feeds, j)
		default:
			streams = append(streams, j)
		}
	}
	return streams, feeds
}

// divide gives the time for which streams that come together are waited for, which is no
// more than limit, to one of them and to those above it, and returns it. Where a stage
// has no stream above it, it draws on the innermost of feeds.
func (d *division) divide(streams []int, feeds [][]int, limit float64) float64 {
	if len(streams) == 0 {
		last := len(feeds) - 1
		if last < 0 {
			return 0
		}
		if len(feeds[last]) == 0 {
			return d.divide(nil, feeds[:last], limit)
		}
		return d.divide(feeds[last], feeds[:last], limit)
	}
	least, waits := d.least(streams)
	waits = min(waits, limit)
	above, own := d.above(least, nil, nil)
	d.shares[least] = waits - d.divide(above, append(feeds[:len(feeds):len(feeds)], own), waits)
	return waits
}

// about is how near two parts of the time are that count as even.
const about = 0.05

// least returns the one of streams that is waited for least, and for how long that is. Of
// several that are about even it is the one from which most has come, unless it has ended
// long before the others, or the first.
func (d *division) least(streams []int) (least int, waits float64) {
	latest := d.nodes[streams[0]].idle
	for _, i := range streams {
		latest = min(latest, d.nodes[i].idle)
	}
	all := make([]float64, len(streams))
	waits = 1
	for k, i := range streams {
		all[k] = d.nodes[i].waits(d.nodes[i].idle - latest)
		waits = min(waits, all[k])
	}
	least = -1
	most := 0.0
	for k, i := range streams {
		n := d.nodes[i]
		came := float64(n.stats.Items)
		if float64(n.idle-latest) > about*float64(n.stats.WaitUp+n.stats.WaitDown) {
			came = 0
		}
		if all[k] <= waits+about && (least < 0 || came > 1.1*most) {
			least, most = i, came
		}
	}
	return least, waits
}
