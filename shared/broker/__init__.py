"""The message broker: one port, and RabbitMQ or this process's memory behind it.

ports      what a broker promises
topology   the queues and exchanges, by name
batching   how many envelopes become one message
rabbitmq   the only file that imports aio_pika
memory     the same promises inside one process
"""
