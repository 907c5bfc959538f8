"""A typed client: needs the base install only (`pip install .`), and a server, such as `make run` starts."""

import asyncio
import sys

import grpc

from affix.v1 import attachments_pb2 as pb
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix.v1.tasks_pb2 import CreateTaskRequest
from affix.v1.tasks_pb2_grpc import TaskServiceStub


async def main(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        tasks, attachments = TaskServiceStub(channel), AttachmentServiceStub(channel)
        task = (await tasks.CreateTask(CreateTaskRequest(text="Review the design"))).task

        notes = pb.MarkdownContent(content="## Findings\n\nNone yet.")
        await attachments.CreateAttachment(pb.CreateAttachmentRequest(task_id=task.id, key="notes", markdown=notes))
        page = await attachments.ListAttachments(pb.ListAttachmentsRequest(task_id=task.id))
        for attachment in page.attachments:
            print(attachment.id, attachment.key, repr(attachment.markdown.content))
        try:
            await attachments.GetAttachment(pb.GetAttachmentRequest(task_id=task.id, key="summary"))
        except grpc.aio.AioRpcError as error:
            print(error.code().name, error.details())


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
