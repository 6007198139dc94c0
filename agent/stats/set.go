package stats

import (
	"math"
	"math/bits"
)

// FloatSet is a statistic set of measurements (docs/spec/01 section 4.4).
type FloatSet struct {
	Min, Max, Sum float64
	Count         int
}

// add takes a value in; one that is no number is left out.
func (s *FloatSet) add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if s.Count == 0 {
		s.Min, s.Max = v, v
	}
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	s.Sum += v
	s.Count++
}

// CountSet is a statistic set of counter values (docs/spec/01 section 4.4). The sum
// has 128 bits: counters may be at their end.
type CountSet struct {
	Min, Max     uint64
	SumHi, SumLo uint64
	Count        int
}

func (s *CountSet) add(v uint64) {
	if s.Count == 0 {
		s.Min, s.Max = v, v
	}
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	var carry uint64
	s.SumLo, carry = bits.Add64(s.SumLo, v, 0)
	s.SumHi += carry
	s.Count++
}

// NetworkSets are the statistic sets of all interfaces of a container together.
type NetworkSets struct {
	RxBytes, RxDropped, RxErrors, RxPackets CountSet
	TxBytes, TxDropped, TxErrors, TxPackets CountSet
	RxRate, TxRate                          FloatSet // bytes a second
}

func (s *NetworkSets) add(n Network, rates *NetworkRates) {
	s.RxBytes.add(n.RxBytes)
	s.RxDropped.add(n.RxDropped)
	s.RxErrors.add(n.RxErrors)
	s.RxPackets.add(n.RxPackets)
	s.TxBytes.add(n.TxBytes)
	s.TxDropped.add(n.TxDropped)
	s.TxErrors.add(n.TxErrors)
	s.TxPackets.add(n.TxPackets)
	if rates != nil {
		s.RxRate.add(float64(rates.Rx))
		s.TxRate.add(float64(rates.Tx))
	}
}

// total adds up the counters of all interfaces.
func total(networks map[string]Network) Network {
	var sum Network
	for _, n := range networks {
		sum.RxBytes += n.RxBytes
		sum.RxDropped += n.RxDropped
		sum.RxErrors += n.RxErrors
		sum.RxPackets += n.RxPackets
		sum.TxBytes += n.TxBytes
		sum.TxDropped += n.TxDropped
		sum.TxErrors += n.TxErrors
		sum.TxPackets += n.TxPackets
	}
	return sum
}
