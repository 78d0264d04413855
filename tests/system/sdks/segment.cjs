// Sends one of each call with @segment/analytics-node: node segment.cjs URL WRITE_KEY PREFIX
const { Analytics } = require('@segment/analytics-node')

const [url, writeKey, prefix] = process.argv.slice(2)
const analytics = new Analytics({ host: url, path: '/v1/batch', writeKey, flushAt: 20, maxRetries: 0 })
let failed = false
analytics.on('error', (error) => { failed = true; console.error(error) })

const person = { userId: `${prefix}-user` }
const properties = { n: 7, nested: { list: [1, 'zwei', null] }, text: '한글 "quoted" \u2028' }
for (let n = 0; n < 50; n += 1) {
  analytics.track({ ...person, event: 'Product Viewed', properties, messageId: `${prefix}-track-${n}` })
}
analytics.identify({ ...person, traits: { plan: 'pro' }, messageId: `${prefix}-identify` })
analytics.page({ anonymousId: `${prefix}-anonymous`, name: 'Cart', properties, messageId: `${prefix}-page` })
analytics.screen({ ...person, name: 'Home', properties, messageId: `${prefix}-screen` })
analytics.group({ ...person, groupId: 'g1', traits: { name: 'Co' }, messageId: `${prefix}-group` })
analytics.alias({ ...person, previousId: `${prefix}-anonymous`, messageId: `${prefix}-alias` })
analytics.closeAndFlush({ timeout: 15000 }).then(() => process.exit(failed ? 1 : 0))
