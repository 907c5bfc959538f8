"""A typed client: `pip install affix`, and a server to talk to (`make run`)."""

import asyncio
import sys

import grpc

from affix.v1 import attachments_pb2, attachments_pb2_grpc, tasks_pb2, tasks_pb2_grpc


async def main(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        tasks = tasks_pb2_grpc.TaskServiceStub(channel)
        attachments = attachments_pb2_grpc.AttachmentServiceStub(channel)
        task = (await tasks.CreateTask(tasks_pb2.CreateTaskRequest(text="Review the design"))).task
        notes = attachments_pb2.MarkdownContent(content="## Findings\n\nNone yet.")
        await attachments.CreateAttachment(
            attachments_pb2.CreateAttachmentRequest(task_id=task.id, key="notes", markdown=notes)
        )
        page = await attachments.ListAttachments(attachments_pb2.ListAttachmentsRequest(task_id=task.id))
        for attachment in page.attachments:
            print(attachment.key, attachment.WhichOneof("content"), attachment.markdown.content)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
