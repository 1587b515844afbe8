package cpu

// firstGuess is what a burst is predicted to be before any was seen.
const firstGuess = 10

func average(alpha, tau, burst float64) float64 { return alpha*burst + (1-alpha)*tau }

// Predictions returns the exponential averages tau(n+1) = alpha t(n) + (1-alpha) tau(n): first tau0, the guess for the
// first burst, then one after every burst.
func Predictions(alpha, tau0 float64, bursts []float64) []float64 {
	taus := []float64{tau0}
	for _, b := range bursts {
		tau0 = average(alpha, tau0, b)
		taus = append(taus, tau0)
	}
	return taus
}

// Amdahl returns the speedup on n processors of a program of which the fraction parallel can use all of them.
func Amdahl(parallel float64, n int) float64 { return 1 / (1 - parallel + parallel/float64(n)) }

// Little returns the mean time in a queue that holds length on average and takes in rate a unit of time.
func Little(length, rate float64) float64 { return length / rate }
