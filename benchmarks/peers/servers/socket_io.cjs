// Socket.IO: who joins a room hears what is said to it. One of several nodes with BROKER_URL.
const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

async function main() {
  const http = createServer();
  const io = new Server(http, { transports: ["websocket"], serveClient: false });
  if (process.env.BROKER_URL) {
    const publisher = createClient({ url: process.env.BROKER_URL });
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    io.adapter(createAdapter(publisher, subscriber));
  }
  // As its page on performance recommends: the request of the handshake need not be kept.
  io.engine.on("connection", (socket) => { socket.request = null; });
  io.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("say", (room, text) => io.to(room).emit("said", text));
  });
  http.listen(Number(process.env.PORT), "127.0.0.1");
}

main();
