package gate

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Values of headers that every answer shares; never changed.
var (
	jsonType  = []string{"application/json"}
	plainText = []string{"text/plain; charset=utf-8"}
	noSniff   = []string{"nosniff"}
	oneSecond = []string{"1"}
	empty     = []string{""}
)

// RateHeaders adds the headers of a rate limit; limit is its steady rate as text with
// two decimals. A second limit adds them again.
func RateHeaders(h http.Header, r *http.Request, limit []string) {
	forwarded := r.Header["X-Forwarded-For"]
	if len(forwarded) == 0 {
		forwarded = empty
	}
	remote := []string{r.RemoteAddr}
	if old := h["X-Rate-Limit-Limit"]; old != nil {
		limit = append(append(make([]string, 0, 2), old...), limit...)
		h["X-Rate-Limit-Limit"] = limit
		h["X-Rate-Limit-Duration"] = []string{"1", "1"}
		h["X-Rate-Limit-Request-Forwarded-For"] = []string{forwarded[0], forwarded[0]}
		h["X-Rate-Limit-Request-Remote-Addr"] = []string{r.RemoteAddr, r.RemoteAddr}
		return
	}
	h["X-Rate-Limit-Limit"] = limit
	h["X-Rate-Limit-Duration"] = oneSecond
	h["X-Rate-Limit-Request-Forwarded-For"] = forwarded[:1:1]
	h["X-Rate-Limit-Request-Remote-Addr"] = remote
}

// TooMany answers that a rate was exceeded.
func TooMany(w http.ResponseWriter, text string) {
	w.Header()["Content-Type"] = plainText
	w.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.Write([]byte(text))
}

// NotFound answers an unknown path.
func NotFound(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = plainText
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("404 page not found\n"))
}

// WrongMethod answers a known path that does not take the method.
func WrongMethod(w http.ResponseWriter) {
	w.Header()["Content-Type"] = nil
	w.WriteHeader(http.StatusMethodNotAllowed)
}

// JSON answers with a body that is encoded already.
func JSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Encode answers with a value as JSON, and with 500 and {} when it cannot be encoded.
func Encode(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	JSON(w, status, body)
}
