package api

// ExecuteCommandRequest asks for a command to be run in a container.
type ExecuteCommandRequest struct {
	Cluster     string `json:"cluster,omitempty"`
	Command     string `json:"command"`
	Container   string `json:"container,omitempty"`
	Interactive bool   `json:"interactive"`
	Task        string `json:"task"`
}

// ExecuteCommandResponse is the session in which it runs.
type ExecuteCommandResponse struct {
	ClusterARN    string  `json:"clusterArn"`
	ContainerARN  string  `json:"containerArn"`
	ContainerName string  `json:"containerName"`
	Interactive   bool    `json:"interactive"`
	Session       Session `json:"session"`
	TaskARN       string  `json:"taskArn"`
}

// Session is a way into a container; the token opens it.
type Session struct {
	SessionID  string `json:"sessionId"`
	StreamURL  string `json:"streamUrl"`
	TokenValue string `json:"tokenValue"`
}
