# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
require 'net/http'
require 'openssl'

# Stand in for the gems that speak to other servers: real requests by Ruby's own
# client, and the error classes with the words that Mastodon logs.
module HTTP
  class Error < StandardError; end
  class ConnectionError < Error; end
  class TimeoutError < Error; end
end

module Seahorse
  module Client
    class NetworkingError < StandardError; end
  end
end

module Aws
  module S3
    module Errors
      class AccessDenied < StandardError; end
    end
  end
end

module Faraday
  class ConnectionFailed < StandardError; end
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

  def store(path, data)
    answer = request('PUT', "#{ENV.fetch('S3_ENDPOINT')}/#{ENV.fetch('S3_BUCKET')}/#{path}", data)
    raise Aws::S3::Errors::AccessDenied, 'Access Denied' unless answer.code.start_with?('2')
  rescue *FAILURES => e
    raise Seahorse::Client::NetworkingError, e.message
  end

  def index(status)
    request('PUT', "http://#{ENV.fetch('ES_HOST', 'localhost')}:#{ENV.fetch('ES_PORT', 9200)}/statuses/_doc/#{status.id}",
            { text: status.text }.to_json, 'Content-Type' => 'application/json')
  rescue *FAILURES => e
    raise Faraday::ConnectionFailed, e.message
  end
end
