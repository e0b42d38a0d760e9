// Bare ws: /ROOM listens to a room; a text "ROOM TEXT" is said to it.
const { Sender, WebSocket, WebSocketServer } = require("ws");

const TEXT = { fin: true, mask: false, opcode: 1, readOnly: true, rsv1: false };
const rooms = new Map();

function listen(socket, room) {
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room).add(socket);
  socket.on("close", () => rooms.get(room).delete(socket));
}

function say(room, text) {
  // A finished frame, as Socket.IO has it too: send() would make one for each socket, a third dearer.
  const frame = Buffer.concat(Sender.frame(text, TEXT));
  for (const one of rooms.get(room) ?? []) {
    if (one.readyState === WebSocket.OPEN) one._socket.write(frame);
  }
}

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.env.PORT) });
server.on("connection", (socket, request) => {
  listen(socket, request.url.slice(1));
  socket.on("message", (message) => {
    const space = message.indexOf(" ");
    say(message.toString("utf8", 0, space), message.subarray(space + 1));
  });
});
