# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'net/http'
require 'openssl'

# What Mastodon asks of other machines: S3 and Elasticsearch by their own gems, loaded when one is asked for,
# other servers by Ruby's own client, with the error classes and the words of Mastodon's request.rb.
module HTTP
  class Error < StandardError; end
  class ConnectionError < Error; end
  class TimeoutError < Error; end
end

module Mastodon
  class UnexpectedResponseError < StandardError; end
end

module Remote
  SECONDS = 5
  # https://github.com/ruby/net-http: what a connection can end with.
  FAILURES = [SystemCallError, SocketError, IOError, Net::OpenTimeout, Net::ReadTimeout, OpenSSL::SSL::SSLError].freeze

  module_function

  def request(method, url, body = nil, headers = {})
    uri = URI(url)
    Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == 'https', open_timeout: SECONDS, read_timeout: SECONDS) do |http|
      http.send_request(method, uri.request_uri, body, headers)
    end
  end

  def deliver(inbox, json)
    answer = request('POST', inbox, json, 'Content-Type' => 'application/activity+json')
    raise Mastodon::UnexpectedResponseError, "#{inbox} returned code #{answer.code}" unless answer.code.start_with?('2')
  rescue Net::OpenTimeout, Net::ReadTimeout
    raise HTTP::TimeoutError, "Connect timed out after #{SECONDS} seconds on #{inbox}"
  rescue OpenSSL::SSL::SSLError => e
    raise OpenSSL::SSL::SSLError, "#{e.message} on #{inbox}"
  rescue *FAILURES => e
    raise HTTP::ConnectionError, "failed to connect: #{e.message} on #{inbox}"
  end

  # As in config/initializers/paperclip.rb: nothing is tried again, and an endpoint has the bucket in its path.
  def store(path, data)
    require 'aws-sdk-s3'
    @storage ||= Aws::S3::Client.new(
      endpoint: ENV.fetch('S3_ENDPOINT'), region: ENV.fetch('S3_REGION', 'us-east-1'), force_path_style: true, retry_limit: 0,
      access_key_id: ENV.fetch('AWS_ACCESS_KEY_ID', 'standin'), secret_access_key: ENV.fetch('AWS_SECRET_ACCESS_KEY', 'standin'),
      http_open_timeout: SECONDS, http_read_timeout: SECONDS
    )
    @storage.put_object(bucket: ENV.fetch('S3_BUCKET'), key: path, body: data)
  end

  # As in config/initializers/chewy.rb; that the client asks who answers is left out as in lib/elasticsearch/client_extensions.rb (4.3),
  # and older clients did not ask.
  def index(status)
    require 'elasticsearch'
    @search ||= Elasticsearch::Client.new(
      host: "#{ENV.fetch('ES_HOST', 'localhost')}:#{ENV.fetch('ES_PORT', 9200)}", user: ENV['ES_USER'].presence, password: ENV['ES_PASS'].presence
    ).tap { |client| client.instance_variable_set(:@verified, true) }
    @search.index(index: 'statuses', id: status.id, body: { text: status.text })
  end
end
