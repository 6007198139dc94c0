// Package awsfolder serves, out of a folder, what agents ask of other services of AWS
// than ECS, so that tasks with secrets and environment files run on a laptop.
//
//	ssm/NAME                          a parameter of Parameter Store; its value
//	ssm-versions/NAME/SELECTOR        a version or label of it
//	secrets/NAME                      a secret of Secrets Manager; its text
//	secrets-versions/NAME/VERSION     the version of an id or a stage, such as AWSPREVIOUS
//	s3/BUCKET/KEY                     an object of S3
//	ecr/ACCOUNT                       {"username":…,"password":…,"proxyEndpoint":…} of a registry
//	REGION/ssm/NAME and so on         what is in another region
//	faults                            what goes wrong (see Faults)
//
// The newline at the end of a parameter or secret, which editors put there, is no part of
// it; objects of S3 are served byte by byte. Files are read when they are asked for, so
// that a change counts at once, and nothing outside the folder is.
//
// Each service speaks its own protocol: the AWS CLI and SDKs work with it. Requests have
// to be signed for the service; with whose credentials does not matter.
package awsfolder
