// Sends events with the cloudevents package in binary, structured and batched mode: node cloudevents.cjs URL WRITE_KEY PREFIX
const { CloudEvent, HTTP } = require('cloudevents')

const [url, writeKey, prefix] = process.argv.slice(2)
const make = (name) => new CloudEvent({
  id: `${prefix}-${name}`, source: '/shop/red%20bag', type: 'product.viewed', subject: `${prefix}-user`, extension1: 'a b',
  data: { n: 7, nested: { list: [1, 'zwei', null] }, text: '한글 "quoted" \u2028' },
})

async function send(message) {
  // fetch refuses header values beyond latin-1, and the SDK leaves percent-encoding to its transport
  const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) =>
    [name, name.startsWith('ce-') ? encodeURIComponent(value) : value]))
  const answer = await fetch(`${url}/v1/events`, {
    method: 'POST', headers: { ...headers, 'X-Write-Key': writeKey }, body: message.body,
  })
  if (answer.status !== 202) throw new Error(`${answer.status} ${await answer.text()}`)
}

async function main() {
  await send(HTTP.binary(make('binary')))
  await send(HTTP.structured(make('structured')))
  const batch = [make('batch-1'), make('batch-2')].map((event) => event.toJSON())
  await send({ headers: { 'content-type': 'application/cloudevents-batch+json' }, body: JSON.stringify(batch) })
}

main().catch((error) => { console.error(error); process.exit(1) })
