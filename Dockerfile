# A rendezvous point in an image with nothing else in it:
#
#   docker build -t rendezvous .
#   docker run -v rendezvous:/data -p 4040:4040/tcp -p 4040:4040/udp -p 4041:4041 rendezvous

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -ldflags="-s -w" -o /rendezvous ./cmd/rendezvous
RUN mkdir /data

FROM scratch
COPY --from=build /rendezvous /rendezvous
# An empty volume takes its owner from the directory that it covers.
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
ENV RENDEZVOUS_KEY=/data/key
ENV RENDEZVOUS_STORAGE=leveldb:/data/db
VOLUME /data
EXPOSE 4040/tcp 4040/udp 4041/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/rendezvous"]
CMD ["serve"]
