package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ecsagent/agent/runtime"
)

// maxLayers bounds the layers that are told apart; an image has at most 127.
const maxLayers = 1000

// pullMessage is one message of a pull.
type pullMessage struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error  string `json:"error"`
	Detail *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// readProgress reads the messages of a pull and tells how far it is; a message with
// an error ends it.
func readProgress(r io.Reader, told func(runtime.PullProgress)) error {
	dec := json.NewDecoder(r)
	p := progress{layers: make(map[string]*layer)}
	for {
		var m pullMessage
		err := dec.Decode(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read pull progress: %w", err)
		case m.Detail != nil && m.Detail.Message != "":
			return errors.New(m.Detail.Message)
		case m.Error != "":
			return errors.New(m.Error)
		}
		if told != nil {
			p.hear(&m)
			told(p.sum)
		}
	}
}

// progress sums up what the messages say of each layer.
type progress struct {
	layers map[string]*layer
	sum    runtime.PullProgress
}

type layer struct {
	current, total int64 // bytes of the download
	done           bool
}

func (p *progress) hear(m *pullMessage) {
	l := p.layers[m.ID]
	switch m.Status {
	case "Pulling fs layer", "Waiting", "Downloading", "Verifying Checksum", "Download complete", "Extracting",
		"Pull complete", "Already exists":
	default: // about the image as a whole
		return
	}
	if l == nil {
		if m.ID == "" || len(p.layers) >= maxLayers {
			return
		}
		l = &layer{}
		p.layers[m.ID] = l
		p.sum.Layers++
	}
	switch m.Status {
	case "Downloading":
		p.move(l, m.Progress.Current, m.Progress.Total)
	case "Download complete":
		p.move(l, l.total, l.total)
	case "Pull complete", "Already exists":
		if !l.done {
			l.done = true
			p.sum.Complete++
		}
	}
}

// move brings the sums to where the layer's download is. A total that is not known is
// at least what has come.
func (p *progress) move(l *layer, current, total int64) {
	current = max(current, 0)
	total = max(total, current)
	p.sum.Bytes += current - l.current
	p.sum.Total += total - l.total
	l.current, l.total = current, total
}
